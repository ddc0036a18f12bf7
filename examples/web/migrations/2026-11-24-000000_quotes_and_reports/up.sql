CREATE TABLE quote (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    parcel integer NOT NULL,
    cents integer NOT NULL
);

CREATE TABLE report (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    quotes bigint NOT NULL,
    cents bigint NOT NULL
);
