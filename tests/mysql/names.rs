//! Names are equal if their characters are.

use super::with_semaphore;
use diesel_dbsemaphore as sem;

#[test]
fn names_are_compared_exactly() {
    let names = [
        "a", "a ", " a", "A", "ä", "á", "a\u{301}", "ß", "ss", "😀", "😁", "a\t", "%", "_", "'",
        "\\",
    ];
    let (_database, mut conn) = with_semaphore("other", 1);
    for (size, name) in (1..).zip(names) {
        assert!(sem::ensure(&mut conn, name, size).unwrap(), "{name:?}");
    }
    let sizes = sem::list(&mut conn).unwrap();
    for (size, name) in (1..).zip(names) {
        assert_eq!(sizes[name], size, "{name:?}");
        assert_eq!(
            sem::usage_of(&mut conn, name).unwrap().size,
            size,
            "{name:?}"
        );
    }
    assert!(sem::destroy(&mut conn, "a ").unwrap());
    assert!(!sem::destroy(&mut conn, "a ").unwrap());
    assert!(sem::list(&mut conn).unwrap().contains_key("a"));
}

#[test]
fn the_longest_name_is_accepted() {
    let (_database, mut conn) = with_semaphore(&"😀".repeat(255), 1);
    assert_eq!(sem::list(&mut conn).unwrap().len(), 1);
    assert!(!sem::ensure(&mut conn, &"😀".repeat(255), 1).unwrap());
}
