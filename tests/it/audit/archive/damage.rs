//! What is wrong with an archive is noticed, and what fails leaves everything as it was.

use std::{fs, path::PathBuf};

use sha2::Digest as _;
use stockroom::{ledger::archive::file, stock::time::Timestamp};

use super::{archive, archive_before, filled, holds, now, rows, verify};
use crate::audit::{command::stockroom, connect, go_on, run};

fn files(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_row_that_is_not_what_the_files_say_is_named() {
    let (url, mixture) = filled().await;
    let connection = &mut connect(&url).await;
    run(connection, "create table aside as select * from ledger_entry").await;
    let folder = tempfile::tempdir().unwrap();
    archive(&url, &folder);
    go_on(&mixture, "more").await;
    let one = |table: &str| format!("ctid = (select min(ctid) from {table})");
    let (position, entry) = (one("carried_position"), one("archived_entry"));
    for (change, named) in [
        (
            format!("update carried_position set sellable = sellable + 1 where {position}"),
            "sellable",
        ),
        (
            format!("update carried_position set reserved = reserved + 1 where {position}"),
            "reserved",
        ),
        (format!("delete from carried_position where {position}"), "carried_position"),
        (
            format!("update archived_entry set quantity = quantity + 1 where {entry}"),
            "archived_entry",
        ),
        (format!("update archived_entry set fingerprint = 1 where {entry}"), "archived_entry"),
        (format!("delete from archived_entry where {entry}"), "archived_entry"),
        (
            "insert into ledger_entry select * from aside order by partition, seq limit 1"
                .to_owned(),
            "it is archived, and this row is there still",
        ),
    ] {
        run(connection, "create table kept_p as select * from carried_position").await;
        run(connection, "create table kept_e as select * from archived_entry").await;
        run(connection, &change).await;
        let difference = verify(&mixture, &folder).await.difference;
        let difference = difference.unwrap_or_else(|| panic!("{change} was not noticed"));
        assert!(difference.contains(named), "{change}: {difference}");
        run(
            connection,
            "delete from carried_position; insert into carried_position select * from kept_p;
             delete from archived_entry; insert into archived_entry select * from kept_e;
             drop table kept_p, kept_e;
             delete from ledger_entry e using archived_slice s
                 where e.partition = s.partition and e.seq <= s.last_seq",
        )
        .await;
    }
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn a_file_that_was_altered_exchanged_or_lost_is_named() {
    let (url, mixture) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    archive(&url, &folder);
    let files = files(&folder);
    let [first, second, ..] = &*files else { panic!("{files:?}") };
    let good = fs::read(first).unwrap();
    let told = async |what: &str| {
        let difference = verify(&mixture, &folder).await.difference.expect(what);
        let audited = mixture.ledger.audit(&[], Some(folder.path()), |_| ()).await.unwrap();
        assert!(!audited.differences.is_empty(), "{what}");
        difference
    };
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(first, &bad).unwrap();
    let difference = told("a bit was flipped").await;
    let name = first.file_name().unwrap().to_str().unwrap();
    assert!(difference.contains(name) && difference.contains("SHA-256"), "{difference}");
    fs::write(first, fs::read(second).unwrap()).unwrap();
    assert!(told("it is another file").await.contains("SHA-256"));
    fs::remove_file(first).unwrap();
    assert!(told("it is lost").await.contains(name));

    // Whoever may also write to the database makes the file one that it knows.
    let text = String::from_utf8(zstd::decode_all(&*good).unwrap()).unwrap();
    let altered = text.replacen(r#""quantity":100"#, r#""quantity":101"#, 1);
    assert_ne!(altered, text);
    fs::write(first, zstd::encode_all(altered.as_bytes(), 3).unwrap()).unwrap();
    let sum = sha2::Sha256::digest(fs::read(first).unwrap());
    let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    let known =
        format!("update archived_slice set file_sha256 = '\\x{sum}' where file_name = '{name}'");
    let connection = &mut connect(&url).await;
    let before = format!(
        "create table kept as select * from archived_slice where file_name = '{name}'; {known}"
    );
    run(connection, &before).await;
    let difference = told("an entry was altered").await;
    assert!(difference.contains("fit neither its checksum nor the chain"), "{difference}");
    fs::write(first, &good).unwrap();
    run(
        connection,
        "update archived_slice s set file_sha256 = kept.file_sha256 from kept
             where s.file_name = kept.file_name",
    )
    .await;
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn what_cannot_be_written_or_read_again_stays_in_the_ledger() {
    let (url, mixture) = filled().await;
    let entries = rows(&url, "ledger_entry").await;
    let folder = tempfile::tempdir().unwrap();
    let no_folder = folder.path().join("file");
    fs::write(&no_folder, "").unwrap();
    let before = now().to_string();
    let refused = |before: &str, to: &str| {
        stockroom(&["archive", "--database-url", &url, "--before", before, "--to", to])
    };
    let (code, text) = refused(&before, no_folder.to_str().unwrap());
    assert!(code == 1 && text.contains("cannot make the folder"), "{text}");
    let (code, text) = refused("2100-01-01T00:00:00Z", folder.path().to_str().unwrap());
    assert!(code == 1 && text.contains("in the future"), "{text}");
    // An entry that was altered fits the chain no more.
    let connection = &mut connect(&url).await;
    let alter = "update ledger_entry set note = 'nothing' where seq = 2";
    let kept = "create table kept as select partition, seq, note from ledger_entry where seq = 2";
    run(connection, &format!("{kept}; {alter}")).await;
    let (code, text) = refused(&before, folder.path().to_str().unwrap());
    assert!(code == 1 && text.contains("fit neither its checksum nor the chain"), "{text}");
    assert_eq!(rows(&url, "ledger_entry").await, entries);
    run(
        connection,
        "update ledger_entry e set note = kept.note from kept
             where e.partition = kept.partition and e.seq = kept.seq",
    )
    .await;
    // The file that this run left is replaced.
    fs::remove_file(&no_folder).unwrap();
    let archived = archive_before(&url, folder.path(), now());
    assert_eq!(archived["entries"], entries);
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn what_another_run_may_be_at_or_may_need_is_left_alone() {
    let (url, mixture) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let ledger = &mixture.ledger;
    let command = || {
        let (before, to) = (now().to_string(), folder.path().to_str().unwrap());
        stockroom(&["archive", "--database-url", &url, "--before", &before, "--to", to])
    };
    let other = ledger.archiving().await.unwrap().expect("nobody is at it");
    let (code, text) = command();
    assert!(code == 1 && text.contains("somebody else is archiving"), "{text}");
    drop(other);

    // The batch is another one by now, as after a fail-over.
    let before = Timestamp(now().as_microsecond());
    let partition = crate::audit::busy(&url).await.0;
    let batches = ledger.batches_to_archive(partition, before).await.unwrap().unwrap();
    let slice = file::write(folder.path(), ledger, batches).await.unwrap();
    let connection = &mut connect(&url).await;
    let row = format!("partition = {} and last_seq = {}", partition.0, slice.last);
    run(connection, &format!("create table kept as select hash from ledger_batch where {row}"))
        .await;
    run(connection, &format!("update ledger_batch set hash = previous where {row}")).await;
    let refused = ledger.put_away(&slice).await.unwrap_err();
    assert!(refused.chain().contains("archived meanwhile"), "{}", refused.chain());
    run(connection, &format!("update ledger_batch set hash = kept.hash from kept where {row}"))
        .await;

    // A file of this name that is another one is somebody's.
    let path = folder.path().join(&slice.file_name);
    let good = fs::read(&path).unwrap();
    fs::write(&path, "of another ledger").unwrap();
    let (code, text) = command();
    assert!(code == 1 && text.contains("another file of this name"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), b"of another ledger");
    fs::write(&path, good).unwrap();
    let (code, text) = command();
    assert_eq!(code, 0, "{text}");
    holds(&mixture, &folder).await;
}
