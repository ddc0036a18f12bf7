// A repository's page shows the files in docs/guide as they are, so their links are relative, or lead to docs.rs. Of two
// definitions of a link, the first one counts: links.md replaces them by rustdoc's own.
//
// The crate tests/guide runs the examples, therefore they are no doctests.

#![cfg_attr(not(doctest), doc = include_str!("guide/links.md"), doc = include_str!("../docs/guide/README.md"))]

macro_rules! chapters {
    ($($chapter:ident)*) => {$(
        #[cfg_attr(
            not(doctest),
            doc = include_str!("guide/links.md"),
            doc = include_str!(concat!("../docs/guide/", stringify!($chapter), ".md"))
        )]
        pub mod $chapter {}
    )*};
}

chapters! {
    waiting
    losing_a_ticket
    in_production
    testing
    security
    migrating
    sqlite
    from_django
    mysql
    faq
}
