-- Files of watched folders that were taken, so that none is taken twice.
CREATE TABLE taken (
    camera      TEXT    NOT NULL,
    name        BLOB    NOT NULL,
    modified_ns INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    PRIMARY KEY (camera, name)
) STRICT, WITHOUT ROWID;
