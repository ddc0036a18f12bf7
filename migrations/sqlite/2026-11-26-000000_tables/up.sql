-- A semaphore. Its id is never used again, since the lock files of its tickets are in a folder of that name.
CREATE TABLE dbsemaphore_semaphore (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 255)
);

-- The tickets of a semaphore, as ranges of slots. Whoever has locked the file of a slot holds that ticket.
CREATE TABLE dbsemaphore_ticket_range (
    semaphore_id INTEGER NOT NULL REFERENCES dbsemaphore_semaphore (id),
    first_slot INTEGER NOT NULL CHECK (first_slot >= 0),
    last_slot INTEGER NOT NULL CHECK (last_slot BETWEEN first_slot AND 1048575),
    PRIMARY KEY (semaphore_id, first_slot)
) WITHOUT ROWID;
