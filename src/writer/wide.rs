//! Batches over several partitions: one command each, admitted in every partition that it claims in.

use tokio::time::Instant;

use crate::{
    stock::ids::Partition,
    writer::{
        Failure,
        admit::{self, CONTENDED_PAUSE, Judgement, Tokens, admit},
        lane::{self, Job},
        settle::settle,
        stores::Stores,
    },
};

/// Executes one job over several partitions, ascending, and answers it.
pub(super) async fn run(stores: &Stores, partitions: &[Partition], mut job: Job) {
    let tokens = loop {
        let (judgement, tokens) = judge(stores, partitions, &mut job).await;
        match judgement {
            Judgement::Go => break tokens,
            Judgement::Short(refusal) => {
                give_back(stores, tokens).await;
                return job.refuse(&refusal);
            }
            Judgement::Contended => give_back(stores, tokens).await,
        }
        if Instant::now() + CONTENDED_PAUSE >= job.deadline {
            // A caller that went away no longer wants the answer.
            let _ = job.reply.send(Err(Failure::DeadlineExceeded));
            return;
        }
        tokio::time::sleep(CONTENDED_PAUSE).await;
    };
    let effects = lane::run(stores, partitions, vec![job]).await;
    for &partition in partitions {
        let effect = effects.iter().find(|effect| effect.partition == partition);
        let admitted = tokens.get(&partition).copied();
        if !settle(&stores.availability, partition, effect, admitted).await {
            stores.committed.notify_one();
        }
    }
}

/// What Redis says of the job everywhere, and what was taken for it.
async fn judge(stores: &Stores, partitions: &[Partition], job: &mut Job) -> (Judgement, Tokens) {
    let (mut judgement, mut tokens) = (Judgement::Go, Tokens::new());
    let mut commands: Vec<_> = job.commands.iter_mut().collect();
    if commands.len() != 1 {
        return (judgement, tokens);
    }
    for &partition in partitions {
        let (mine, admitted) = admit(stores, partition, &mut commands).await;
        mine.into_iter().for_each(|mine| judgement.meet(mine));
        tokens.extend(admitted.map(|admitted| (partition, admitted)));
    }
    let scope = commands.iter().flat_map(|command| command.steps()).next();
    let scope = scope.map(|step| step.place.partition);
    if let (Judgement::Short(_), Some(scope)) = (&judgement, scope) {
        let judged = [judgement.clone()];
        let known = admit::known(&stores.ledger, scope, &commands, &judged).await;
        if commands.iter().any(|command| known.covers(command)) {
            judgement = Judgement::Go;
        }
    }
    (judgement, tokens)
}

async fn give_back(stores: &Stores, tokens: Tokens) {
    for (partition, admitted) in tokens {
        settle(&stores.availability, partition, None, Some(admitted)).await;
    }
}
