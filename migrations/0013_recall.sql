-- Recalled items: nothing of them is promised or handed over, wherever they are.
--
-- Recalling is no fact of one location, so it is a property of the item, which every server learns of
-- by its revision. What the recall blocks, location by location, are entries of the ledger.

alter table item
    -- When it was recalled; null: it is not.
    add column recalled_at timestamptz,
    -- Who recalled it; empty: nobody said so.
    add column recalled_by text collate "C" not null default '',
    -- Why, for people.
    add column recall_note text not null default '',
    add constraint item_recall check (
        recalled_at is not null or (recalled_by = '' and recall_note = '')
    );
