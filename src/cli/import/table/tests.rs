use super::*;

fn read_all(text: &str) -> (Vec<Movement>, Feed) {
    let feed = read(text.as_bytes(), "till", "Etc/UTC").unwrap();
    ((0..feed.lines.count()).map(|line| feed.lines.movement(line)).collect(), feed)
}

#[test]
fn every_column_reaches_its_field() {
    let (lines, feed) = read_all(
        "source,group,expected_at,original_key,original_source,to_location_id,to_state,from_state,\
         note,document_line,document,reason,channel_id,utc_offset_minutes,occurred_at,quantity,sku,\
         location_id,kind,key\n\
         wms,g,2026-02-01T00:00:00Z,ok,os,b,In_Transit,sellable,\"a, b\",7,d,r,web,-300,\
         2026-01-01T10:00:00.5+01:00,12,x y,a,transfer_ship,k\n",
    );
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let expected = Movement {
        key: "k".into(),
        kind: MovementKind::TransferShip.into(),
        location_id: "a".into(),
        sku: "x y".into(),
        quantity: 12,
        occurred_at: at(1_767_258_000, 500_000_000),
        utc_offset_minutes: -300,
        channel_id: "web".into(),
        reason: "r".into(),
        document: "d".into(),
        document_line: 7,
        note: "a, b".into(),
        from_state: StockState::Sellable.into(),
        to_state: StockState::InTransit.into(),
        to_location_id: "b".into(),
        original: Some(crate::api::proto::MovementRef { source: "os".into(), key: "ok".into() }),
        expected_at: at(1_769_904_000, 0),
        group: "g".into(),
        ..Movement::default()
    };
    assert_eq!(lines, [expected]);
    assert_eq!(feed.lines.sources(), ["till", "wms"]);
    assert_eq!(feed.lines.source(0), 1);
    let locations: Vec<&str> = feed.locations.iter().map(|l| l.location_id.as_str()).collect();
    assert_eq!(locations, ["a", "b"]);
    assert_eq!(feed.channels, ["web"]);
}

#[test]
fn a_line_that_cannot_be_read_costs_no_other_line() {
    let (lines, feed) = read_all(
        "key,kind,location_id,sku,quantity,occurred_at\n\
         1,SALE,a,x,1,\n\
         2,SALE,a,x,many,\n\
         3,GIFT,a,x,1,\n\
         4,SALE,a,x,1,yesterday\n\
         5,SALE,a,x\n\
         6,,unknown-7,x,-1,1969-12-31T23:59:59.25Z\n",
    );
    let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
    assert_eq!(keys, ["1", "6"]);
    // Badly formed, but for the server to say.
    assert_eq!((lines[1].kind(), lines[1].quantity), (MovementKind::Unspecified, -1));
    let before_1970 = prost_types::Timestamp { seconds: -1, nanos: 250_000_000 };
    assert_eq!(lines[1].occurred_at, Some(before_1970));
    let unreadable: Vec<u64> = feed.unreadable.iter().map(|unreadable| unreadable.line).collect();
    assert_eq!(unreadable, [3, 4, 5, 6]);
    assert_eq!(feed.locations.len(), 1);
}

#[test]
fn a_header_must_name_fields_of_a_movement() {
    let error = |header: &str| read(header.as_bytes(), "s", "Etc/UTC").err().unwrap().to_string();
    assert!(error("key,kind,location_id,sku\n").contains("`quantity`"));
    assert!(error("key,kind,location_id,sku,quantity,colour\n").contains("`colour`"));
}

#[test]
fn a_group_is_one_block_or_none_at_all() {
    let mut text = "key,kind,location_id,sku,quantity,group\n".to_owned();
    text.push_str("1,SALE,a,x,1,g\n2,RETURN,a,x,1,g\n3,SALE,a,x,1,\n4,SALE,a,x,1,\n");
    text.push_str("5,SALE,a,x,1,h\n6,SALE,a,x,oops,h\n7,SALE,a,x,1,h\n8,SALE,a,x,1,i\n");
    text.extend((0..1_001).map(|line| format!("big-{line},SALE,a,x,1,big\n")));
    text.push_str("9,SALE,a,x,1,\n");
    let (lines, feed) = read_all(&text);
    let keys: Vec<&str> = lines.iter().map(|line| line.key.as_str()).collect();
    assert_eq!(keys, ["1", "2", "3", "4", "8", "9"]);
    let ends: Vec<usize> = (0..lines.len()).map(|line| feed.lines.block_end(line)).collect();
    assert_eq!(ends, [2, 2, 3, 4, 5, 6]);
    assert_eq!(feed.unreadable.len(), 3 + 1_001);
    let first: Vec<u64> =
        feed.unreadable.iter().take(3).map(|unreadable| unreadable.line).collect();
    assert_eq!(first, [7, 6, 8]);
}
