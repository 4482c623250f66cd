//! Tables of movements, as `stockroom import csv` reads them.

use jiff::Timestamp;
use stockroom::{
    api::proto::{Movement, MovementKind, StockState},
    cli::import::read_table,
};

use super::{
    behaviours::Behaviours,
    runner::{Target, fuzz},
};

const HEADER: &str = "key,kind,location_id,sku,quantity,occurred_at,utc_offset_minutes,channel_id,\
    reason,document,document_line,note,from_state,to_state,to_location_id,original_source,\
    original_key,expected_at,group";

const WORDS: [&str; 20] = [
    ",",
    "\n",
    "\r\n",
    "\"",
    "\"\"",
    "\u{1f}",
    "SALE",
    "receipt",
    "COUNT",
    "EXTERNAL",
    "2026-03-01T09:30:00Z",
    "1969-12-31T23:59:59.25-18:00",
    "2026-03-01T09:30:00[Europe/Berlin]",
    "9223372036854775807",
    "-1",
    "1e3",
    " 5 ",
    "unknown-1",
    "source",
    "group",
];

#[test]
fn tables() {
    let lines = "1,SALE,a,x,1,,,,,,,,,,,,,,g\n2,RETURN,a,x,1,,,,,,,,,,,till,1,,g\n\
        3,ADJUST,a,\"x, y\",5,2026-03-01T09:30:00Z,60,web,damage,d,7,n,SELLABLE,EXTERNAL,,,,,\n\
        4,EXPECT,a,x,many,,,,,,,,,,,,,2026-05-01T00:00:00Z,\n5,TRANSFER_SHIP,a,x,1,,,,,,,,,,b,,,,\n\
        6,TRANSFER_RECEIVE,b,x,1,1969-12-31T23:59:59.25Z,,,,,,,,,,,,,\n7,COUNT,a,x,0,,,,,,,,,,,,,,\n\
        8,BLOCK,a,x,1,,,,,,,,,,,,,,\n9,UNBLOCK,a,x,1,,,,,,,,,,,,,,\n10,SHIP_OUT,a,x,1,,,,,,,,,,,,,,\n\
        11,CORRECT,a,x,0,,,,did_not_occur,,,,,,,till,1,,\n12,RECEIPT,a,x,1,,,,,,,,,BLOCKED,,,,,\n";
    let seeds = [
        format!("{HEADER}\n{lines}"),
        "key,kind,location_id,sku,quantity\n1,SALE,a,x,1\n2,GIFT,a,x\n".to_owned(),
        "quantity,sku,location_id,kind,key,source\n1,x,a,COUNT,k,till-2\n".to_owned(),
        "key,kind\n".to_owned(),
    ];
    let target = Target {
        name: "tables",
        seeds: seeds.into_iter().map(String::into_bytes).collect(),
        words: &WORDS,
        message: false,
        floor: 35,
    };
    fuzz(target, |input, seen| {
        let Ok((movements, unreadable)) = read_table(input) else {
            seen.saw("no table");
            return;
        };
        let lines = input.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
        assert!(movements.len() + unreadable.len() <= lines + 1, "more came out than went in");
        assert!(unreadable.iter().all(|line| *line >= 1), "{unreadable:?}");
        seen.saw(format!("{} unreadable", unreadable.len().min(3)));
        movements.iter().for_each(|movement| note(movement, seen));
        let (again, unreadable) = read_table(&*write(&movements)).expect("it was a table");
        assert_eq!(again, movements, "what is written as a table is read again");
        assert_eq!(unreadable, Vec::<u64>::new());
    });
}

fn note(movement: &Movement, seen: &mut Behaviours) {
    seen.saw(format!("{} {}", movement.kind().as_str_name(), movement.quantity.signum()));
    seen.saw(format!("{:?} to {:?}", movement.from_state(), movement.to_state()));
    seen.saw(format!("original {}", movement.original.is_some()));
    seen.saw(format!("group {}", movement.group.is_empty()));
    for time in [movement.occurred_at, movement.expected_at].into_iter().flatten() {
        seen.saw(format!("time {} {}", time.seconds.signum(), time.nanos.signum()));
    }
}

/// The same movements as a table.
fn write(movements: &[Movement]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER.split(',')).unwrap();
    for movement in movements {
        let original = movement.original.clone().unwrap_or_default();
        let state = |state: StockState| plain(state.as_str_name(), "STOCK_STATE_");
        let (from, to) = (state(movement.from_state()), state(movement.to_state()));
        let kind = match movement.kind() {
            MovementKind::Unspecified => "",
            kind => plain(kind.as_str_name(), "MOVEMENT_KIND_"),
        };
        let record = [
            movement.key.clone(),
            kind.to_owned(),
            movement.location_id.clone(),
            movement.sku.clone(),
            movement.quantity.to_string(),
            time(movement.occurred_at),
            movement.utc_offset_minutes.to_string(),
            movement.channel_id.clone(),
            movement.reason.clone(),
            movement.document.clone(),
            movement.document_line.to_string(),
            movement.note.clone(),
            from.to_owned(),
            to.to_owned(),
            movement.to_location_id.clone(),
            original.source,
            original.key,
            time(movement.expected_at),
            movement.group.clone(),
        ];
        writer.write_record(record).unwrap();
    }
    writer.into_inner().unwrap()
}

fn plain<'n>(name: &'n str, prefix: &str) -> &'n str {
    name.strip_prefix(prefix).filter(|name| *name != "UNSPECIFIED").unwrap_or_default()
}

fn time(time: Option<prost_types::Timestamp>) -> String {
    time.map_or(String::new(), |time| {
        Timestamp::new(time.seconds, time.nanos).expect("it was read").to_string()
    })
}
