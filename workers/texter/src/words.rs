//! The words by which people opt out, in again, and ask for help. The exact word, in any case, with nothing around it but
//! blanks and a full stop.

/// What a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// No more texts.
    Stop,
    /// Texts again.
    Start,
    /// Who is this?
    Help,
}

impl Word {
    /// As events have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Word::Stop => "stop",
            Word::Start => "start",
            Word::Help => "help",
        }
    }
}

/// Language, meaning, words in lower case. English holds everywhere.
const WORDS: &[(&str, Word, &[&str])] = &[
    ("en", Word::Stop, &["stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt-out"]),
    ("en", Word::Start, &["start", "unstop", "yes"]),
    ("en", Word::Help, &["help", "info"]),
    ("fr", Word::Stop, &["arret", "arrêt", "arrete", "arrêter", "desabonner", "désabonner"]),
    ("fr", Word::Start, &["debut", "début", "demarrer", "démarrer"]),
    ("fr", Word::Help, &["aide"]),
    ("de", Word::Stop, &["stopp", "abmelden", "abbestellen", "beenden"]),
    ("de", Word::Start, &["anmelden"]),
    ("de", Word::Help, &["hilfe"]),
    ("es", Word::Stop, &["parar", "baja", "alto", "detener"]),
    ("es", Word::Start, &["alta", "empezar", "comenzar"]),
    ("es", Word::Help, &["ayuda"]),
    ("pt", Word::Stop, &["pare", "sair", "cancelar"]),
    ("pt", Word::Start, &["iniciar", "comecar", "começar"]),
    ("pt", Word::Help, &["ajuda"]),
    ("it", Word::Stop, &["ferma", "basta", "annulla", "cancella"]),
    ("it", Word::Start, &["inizia"]),
    ("it", Word::Help, &["aiuto"]),
    ("nl", Word::Stop, &["afmelden", "uitschrijven"]),
    ("nl", Word::Start, &["aanmelden"]),
    ("pl", Word::Stop, &["koniec", "rezygnuje", "rezygnuję"]),
    ("pl", Word::Start, &["wznow", "wznów"]),
    ("pl", Word::Help, &["pomoc"]),
];

/// What the text means, and in which language. `None` for anything but exactly one of the words.
pub fn meaning(text: &str) -> Option<(Word, &'static str)> {
    let word = text.trim().trim_end_matches(['.', '!']).trim_end().to_lowercase();
    WORDS.iter().find(|(_, _, words)| words.contains(&word.as_str())).map(|(language, word, _)| (*word, *language))
}

/// What is answered.
pub fn answer(word: Word, language: &str) -> &'static str {
    match (word, language) {
        (Word::Stop, "fr") => "Vous ne recevrez plus de messages. Envoyez DEBUT pour en recevoir à nouveau.",
        (Word::Stop, "de") => "Sie erhalten keine Nachrichten mehr. Mit START wieder anmelden.",
        (Word::Stop, "es") => "No recibirá más mensajes. Responda START para volver a recibirlos.",
        (Word::Stop, _) => "You will get no more messages. Reply START to get them again.",
        (Word::Start, "fr") => "Vous recevrez à nouveau nos messages. ARRET pour ne plus en recevoir.",
        (Word::Start, "de") => "Sie erhalten wieder Nachrichten. Mit STOP abmelden.",
        (Word::Start, "es") => "Volverá a recibir mensajes. Responda STOP para no recibirlos.",
        (Word::Start, _) => "You will get messages again. Reply STOP to get none.",
        (Word::Help, "fr") => "Envoyez ARRET pour ne plus recevoir de messages.",
        (Word::Help, "de") => "Mit STOP erhalten Sie keine Nachrichten mehr.",
        (Word::Help, "es") => "Responda STOP para no recibir mensajes.",
        (Word::Help, _) => "Reply STOP to get no more messages.",
    }
}

/// Are these the words that confirm an opt-out?
pub fn is_farewell(text: &str) -> bool {
    ["en", "fr", "de", "es"].into_iter().any(|language| answer(Word::Stop, language) == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments::pack;

    #[test]
    fn the_exact_word_in_any_case_and_nothing_else() {
        for stop in ["STOP", "stop", " Stop. ", "STOPALL", "Unsubscribe", "cancel", "END", "quit", "REVOKE", "OPTOUT"] {
            assert_eq!(meaning(stop), Some((Word::Stop, "en")), "{stop}");
        }
        assert_eq!(meaning("ARRET"), Some((Word::Stop, "fr")));
        assert_eq!(meaning("Arrêt"), Some((Word::Stop, "fr")));
        assert_eq!(meaning("START"), Some((Word::Start, "en")));
        assert_eq!(meaning("aide"), Some((Word::Help, "fr")));
        for other in ["", "please stop", "stop it", "nonstop", "STOP STOP", "don't stop", "s t o p", "the end"] {
            assert_eq!(meaning(other), None, "{other}");
        }
    }

    #[test]
    fn no_word_means_two_things_and_every_answer_is_one_segment() {
        let mut all: Vec<&str> = WORDS.iter().flat_map(|(_, _, words)| words.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        for word in [Word::Stop, Word::Start, Word::Help] {
            for language in ["en", "fr", "de", "es", "pl"] {
                assert_eq!(pack(answer(word, language)).segments, 1, "{word:?} {language}");
            }
        }
    }
}
