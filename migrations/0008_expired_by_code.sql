-- Who comes after the end may still get what is aside, and brings nothing but the code.
create index reservation_expired on reservation (partition, location, code_hash) where state = 7;
