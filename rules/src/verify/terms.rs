//! In which places two terms differ.

use std::collections::{BTreeMap, BTreeSet};

use super::clock;
use crate::etf::Term;

/// More places than this are not looked for: there is no end to what a damaged or generated term may differ in.
const MOST: usize = 20_000;

/// One place at which two terms differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Where: `kernel.logger.level`, `modules[3]`; empty: the whole term.
    pub place: String,
    /// What stands there on our side; none: nothing.
    pub ours: Option<&'a Term>,
    /// What stands there on theirs.
    pub theirs: Option<&'a Term>,
    /// Whether this is where two lists of the same elements begin to have another order.
    pub order: bool,
}

/// All places at which two terms differ, each as deep inside as can be told; `false`: there were more than is sensible.
pub fn differences<'a>(ours: &'a Term, theirs: &'a Term) -> (Vec<Leaf<'a>>, bool) {
    let mut search = Search { leaves: Vec::new(), full: false };
    search.compare(String::new(), ours, theirs);
    (search.leaves, !search.full)
}

struct Search<'a> {
    leaves: Vec<Leaf<'a>>,
    full: bool,
}

impl<'a> Search<'a> {
    fn add(&mut self, place: String, ours: Option<&'a Term>, theirs: Option<&'a Term>, order: bool) {
        if self.leaves.len() >= MOST {
            self.full = true;
            return;
        }
        self.leaves.push(Leaf { place, ours, theirs, order });
    }

    fn compare(&mut self, place: String, ours: &'a Term, theirs: &'a Term) {
        if self.full || ours == theirs {
            return;
        }
        if clock::is_moment(ours) && clock::is_moment(theirs) {
            return self.add(place, Some(ours), Some(theirs), false);
        }
        match (ours, theirs) {
            (Term::Tuple(one), Term::Tuple(other)) if one.len() == other.len() => {
                for (index, (one, other)) in one.iter().zip(other).enumerate() {
                    self.compare(element(&place, index), one, other);
                }
            }
            (Term::Map(one), Term::Map(other)) => self.maps(&place, one, other),
            (Term::List(one), Term::List(other)) => self.lists(place, one, other),
            (Term::ImproperList(one, tail), Term::ImproperList(other, other_tail))
                if one.len() == other.len() =>
            {
                for (index, (one, other)) in one.iter().zip(other).enumerate() {
                    self.compare(format!("{place}[{index}]"), one, other);
                }
                self.compare(format!("{place}[tail]"), tail, other_tail);
            }
            _ => self.add(place, Some(ours), Some(theirs), false),
        }
    }

    fn maps(&mut self, place: &str, one: &'a [(Term, Term)], other: &'a [(Term, Term)]) {
        let find = |pairs: &'a [(Term, Term)], key: &Term| {
            pairs.binary_search_by(|(name, _)| name.cmp(key)).ok().map(|index| &pairs[index].1)
        };
        for (name, value) in one {
            match find(other, name) {
                Some(theirs) => self.compare(key(place, name), value, theirs),
                None => self.add(key(place, name), Some(value), None, false),
            }
        }
        for (name, value) in other.iter().filter(|(name, _)| find(one, name).is_none()) {
            self.add(key(place, name), None, Some(value), false);
        }
    }

    fn lists(&mut self, place: String, one: &'a [Term], other: &'a [Term]) {
        if let (Some(mine), Some(others)) = (keyed(one), keyed(other)) {
            return self.keyed_lists(&place, &mine, &others);
        }
        let only = |these: &'a [Term], those: &'a [Term]| {
            let mut counts: BTreeMap<&Term, usize> = BTreeMap::new();
            for element in those {
                *counts.entry(element).or_default() += 1;
            }
            let mut left = Vec::new();
            for (index, element) in these.iter().enumerate() {
                match counts.get_mut(element) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => left.push((index, element)),
                }
            }
            left
        };
        let (mine, others) = (only(one, other), only(other, one));
        if mine.is_empty() && others.is_empty() {
            return self.reordered(
                &place,
                &one.iter().collect::<Vec<_>>(),
                &other.iter().collect::<Vec<_>>(),
            );
        }
        // Elements of one place are compared with each other; what is too much stands alone.
        if one.len() == other.len() && mine.len() == others.len() {
            for ((index, one), (_, other)) in mine.iter().zip(&others) {
                self.compare(format!("{place}[{index}]"), one, other);
            }
            return;
        }
        for (index, element) in mine {
            self.add(format!("{place}[{index}]"), Some(element), None, false);
        }
        for (index, element) in others {
            self.add(format!("{place}[{index}]"), None, Some(element), false);
        }
    }

    fn keyed_lists(&mut self, place: &str, one: &[(&'a Term, &'a Term)], other: &[(&'a Term, &'a Term)]) {
        let theirs_by_name: BTreeMap<&Term, &'a Term> = other.iter().copied().collect();
        let names: BTreeSet<&Term> = one.iter().map(|(name, _)| *name).collect();
        for (name, element) in one {
            match theirs_by_name.get(name) {
                Some(theirs) => match (element.as_tuple(), theirs.as_tuple()) {
                    (Some([_, value]), Some([_, other])) => self.compare(key(place, name), value, other),
                    _ => self.compare(key(place, name), element, theirs),
                },
                None => self.add(key(place, name), Some(element), None, false),
            }
        }
        for (name, element) in other.iter().filter(|(name, _)| !names.contains(name)) {
            self.add(key(place, name), None, Some(element), false);
        }
        let shared = |list: &[(&'a Term, &'a Term)], known: &dyn Fn(&Term) -> bool| -> Vec<&'a Term> {
            list.iter().map(|(name, _)| *name).filter(|name| known(name)).collect()
        };
        let in_ours = shared(one, &|name| theirs_by_name.contains_key(name));
        let in_theirs = shared(other, &|name| names.contains(name));
        if in_ours != in_theirs {
            self.reordered(place, &in_ours, &in_theirs);
        }
    }

    /// The first place at which two lists of the same elements have another one.
    fn reordered(&mut self, place: &str, one: &[&'a Term], other: &[&'a Term]) {
        let pairs = one.iter().zip(other).enumerate();
        if let Some((index, (one, other))) = pairs.into_iter().find(|(_, (one, other))| one != other) {
            self.add(format!("{place}[{index}]"), Some(one), Some(other), true);
        }
    }
}

/// The elements by their names, when all are tuples that begin with an atom of their own.
fn keyed(elements: &[Term]) -> Option<Vec<(&Term, &Term)>> {
    let pair = |element: &Term| matches!(element.as_tuple(), Some([Term::Atom(_), _, ..]));
    if !elements.iter().all(pair) {
        return None;
    }
    let pairs: Vec<(&Term, &Term)> =
        elements.iter().filter_map(|element| Some((element.as_tuple()?.first()?, element))).collect();
    let names: BTreeSet<&Term> = pairs.iter().map(|(name, _)| *name).collect();
    (names.len() == pairs.len()).then_some(pairs)
}

fn key(place: &str, name: &Term) -> String {
    let name = match name {
        Term::Atom(name) => name.strip_prefix("Elixir.").unwrap_or(name).to_owned(),
        other => other.to_string(),
    };
    if place.is_empty() { name } else { format!("{place}.{name}") }
}

fn element(place: &str, index: usize) -> String {
    format!("{place}{{{}}}", index + 1)
}

/// Whether there is a map anywhere in a term.
pub fn has_map(term: &Term) -> bool {
    any(term, &|term| matches!(term, Term::Map(pairs) if pairs.len() > 1))
}

/// Whether something holds of a term or of anything in it.
pub fn any(term: &Term, is: &dyn Fn(&Term) -> bool) -> bool {
    if is(term) {
        return true;
    }
    match term {
        Term::Tuple(elements) | Term::List(elements) => elements.iter().any(|element| any(element, is)),
        Term::ImproperList(elements, tail) => {
            elements.iter().any(|element| any(element, is)) || any(tail, is)
        }
        Term::Map(pairs) => pairs.iter().any(|(key, value)| any(key, is) || any(value, is)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etf::consult_one;

    fn places(ours: &str, theirs: &str) -> Vec<String> {
        let (ours, theirs) = (consult_one(ours.as_bytes()).unwrap(), consult_one(theirs.as_bytes()).unwrap());
        let show = |term: Option<&Term>| term.map_or("-".to_owned(), ToString::to_string);
        let line = |leaf: &Leaf<'_>| {
            let order = if leaf.order { " order" } else { "" };
            format!("{}: {} | {}{order}", leaf.place, show(leaf.ours), show(leaf.theirs))
        };
        differences(&ours, &theirs).0.iter().map(line).collect()
    }

    #[test]
    fn a_difference_is_named_where_it_is() {
        assert_eq!(
            places("[{kernel,[{logger,[{level,info}]}]}].", "[{kernel,[{logger,[{level,debug}]}]}]."),
            ["kernel.logger.level: info | debug"]
        );
        assert_eq!(places("[{modules,[a,b,c]}].", "[{modules,[a,x,c]}]."), ["modules[1]: b | x"]);
        assert_eq!(places("#{a => {1,2}}.", "#{a => {1,3}, b => 1}."), ["a{2}: 2 | 3", "b: - | 1"]);
        assert_eq!(places("{a,\"x\"}.", "{b,\"x\"}."), ["{1}: a | b"]);
    }

    #[test]
    fn what_is_only_on_one_side_and_what_is_only_in_another_order() {
        assert_eq!(places("[{modules,[a,b,c]}].", "[{modules,[a,c]}]."), ["modules[1]: b | -"]);
        assert_eq!(places("[a,b].", "[b,a]."), ["[0]: a | b order"]);
        assert_eq!(places("[{a,1},{b,2}].", "[{b,2},{a,3}]."), ["a: 1 | 3", "[0]: a | b order"]);
        assert_eq!(places("[{a,1,x}].", "[{a,2,x}]."), ["a{2}: 1 | 2"]);
        assert_eq!(places("[a,a].", "[a]."), ["[1]: a | -"]);
    }
}
