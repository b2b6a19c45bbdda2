//! What the dead-letter hook of a runtime hears.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use warpring::prelude::*;
use warpring::{DeadLetter, RuntimeBuilder};

use crate::kernels::mortal::{LastWord, Mortal};
use crate::setup::same;

/// The dead letters of a runtime. The last words of its [`Mortal`] actors, which come the same way, are kept apart.
#[derive(Clone, Debug, Default)]
pub struct Letters(Arc<Mutex<Heard>>);

#[derive(Debug, Default)]
struct Heard {
    last_words: HashMap<ActorId, Vec<LastWord>>,
    letters: Vec<DeadLetter>,
}

impl Letters {
    /// Listens to the runtime that the builder will build.
    pub fn of(builder: RuntimeBuilder) -> (Self, RuntimeBuilder) {
        let letters = Self::default();
        let heard = letters.clone();
        let builder = builder.on_dead_letter(move |letter| {
            let mut heard = heard.heard();
            match (LastWord::heard(letter.to), letter.from) {
                (Some(word), Some(from)) => heard.last_words.entry(from).or_default().push(word),
                _ => heard.letters.push(letter.clone()),
            }
        });
        (letters, builder)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What is no last word, in the order in which it came.
    #[must_use]
    pub fn others(&self) -> Vec<DeadLetter> {
        self.heard().letters.clone()
    }

    /// How many messages each of these actors had handled in the end.
    ///
    /// # Errors
    /// Unless each has said one last word, nothing was wrong with its life, and nobody else has said one.
    pub fn handled(&self, actors: &[ActorRef<Mortal>]) -> Result<Vec<u32>, String> {
        let heard = self.heard();
        same("actors that said a last word", heard.last_words.len(), actors.len())?;
        let word = |actor: &ActorRef<Mortal>| match heard.last_words.get(&actor.id()).map(Vec::as_slice) {
            Some([LastWord { handled, wrong: false }]) => Ok(*handled),
            other => Err(format!("last words of actor {}: {other:?}", actor.id())),
        };
        actors.iter().map(word).collect()
    }
}
