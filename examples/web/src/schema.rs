diesel::table! {
    quote (id) {
        id -> Int8,
        parcel -> Int4,
        cents -> Int4,
    }
}

diesel::table! {
    report (id) {
        id -> Int8,
        quotes -> Int8,
        cents -> Int8,
    }
}
