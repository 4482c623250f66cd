-- Goods that should have arrived from another location by now are found by the time at which that became
-- true: when they were expected, or recorded if that was later.

create index ledger_entry_transfer_due
    on ledger_entry (partition, (greatest(expected_at, recorded_at)))
    where kind = 6 and legs & 2 <> 0 and expected_at is not null;
