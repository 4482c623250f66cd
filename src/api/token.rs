//! Read-your-writes tokens: an epoch, and a sequence number per partition.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    ledger::head::Head,
    stock::ids::{Partition, Seq},
};

/// First byte of every token of this shape.
const VERSION: u8 = 1;

/// A state of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub epoch: i64,
    pub seqs: BTreeMap<Partition, Seq>,
}

impl Token {
    /// The state that these heads stand for; of several of one partition the newest counts.
    pub(crate) fn of(heads: &[Head]) -> Option<Token> {
        let epoch = heads.iter().map(|head| head.epoch).max()?;
        let mut seqs = BTreeMap::new();
        for head in heads.iter().filter(|head| head.epoch == epoch) {
            let seq = seqs.entry(head.partition).or_insert(head.seq);
            *seq = head.seq.max(*seq);
        }
        Some(Token { epoch, seqs })
    }

    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.epoch.to_be_bytes());
        for (partition, seq) in &self.seqs {
            bytes.extend(partition.0.to_be_bytes());
            bytes.extend(seq.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None`: it is not one of ours.
    pub(crate) fn decode(text: &str) -> Option<Token> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (&version, rest) = bytes.split_first()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let rows = rest.chunks_exact(10);
        if version != VERSION || !rows.remainder().is_empty() {
            return None;
        }
        let row = |row: &[u8]| {
            let (partition, seq) = row.split_first_chunk::<2>()?;
            let seq = Seq::from_be_bytes(seq.try_into().ok()?);
            (seq >= 0).then_some((Partition(i16::from_be_bytes(*partition)), seq))
        };
        let seqs = rows.map(row).collect::<Option<_>>()?;
        Some(Token { epoch: i64::from_be_bytes(*epoch), seqs })
    }
}
