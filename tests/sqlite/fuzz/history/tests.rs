use super::*;

fn history(logs: &[(u32, &str)]) -> History {
    let calls = logs
        .iter()
        .flat_map(|(pid, text)| read_log(*pid, text, 100, false));
    History {
        calls: calls.collect(),
        sizes: vec![Size {
            during: 0..1,
            size: 1,
        }],
        snapshots: vec![Snapshot {
            during: 3..4,
            pids: vec![1],
        }],
        kills: Vec::new(),
    }
}

#[test]
fn one_after_another_is_right() {
    let first = "2 call\n10 acquired 9 7\n20 ends\n21 released";
    let second = "6 call\n30 acquired 29 7\n40 ends";
    assert_eq!(
        history(&[(1, first), (2, second)]).violations(),
        Vec::<String>::new()
    );
}

#[test]
fn each_violation_is_found() {
    let waited = "2 call\n30 acquired 29 7";
    for (other, found) in [
        ("20 call\n40 acquired 39 7\n50 ends", "double"),
        ("20 call\n40 acquired 39 8\n50 ends", "2 tickets held"),
        ("6 call\n10 acquired 9 8\n20 ends", "overtaken"),
        ("200 call\n201 acquired 9 7\n202 ends", "token"),
        ("6 call\n10 error some", "error"),
    ] {
        let violations = history(&[(1, waited), (2, other)]).violations();
        assert!(
            violations
                .iter()
                .any(|violation| violation.starts_with(found)),
            "{found}"
        );
    }
}
