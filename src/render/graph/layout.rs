//! Where the steps of a picture stand: in columns, each right of those it needs, in an order with few crossings.
//!
//! After Sugiyama: layers by longest path, places to pass through in every layer that an edge crosses, orders by the mean
//! of the neighbours, and positions that are as near to the neighbours as the order lets them be.

use std::collections::HashMap;

/// The height of a step.
pub const HEIGHT: f64 = 28.0;
/// Between steps of a column.
const GAP: f64 = 14.0;
/// The room of an edge that passes through a column.
const LANE: f64 = 10.0;
/// How often the orders are gone over.
const SWEEPS: usize = 12;

/// A step, or a place at which an edge passes through a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The step; none for a passing edge.
    pub step: Option<usize>,
    /// The column.
    pub layer: usize,
    /// The middle, from the top.
    pub y: f64,
}

/// A picture, columns and heights known.
pub struct Layout {
    /// Steps first, at their own places, then what passes.
    pub items: Vec<Item>,
    /// Pairs of items in columns side by side.
    pub edges: Vec<(usize, usize)>,
    /// How many columns there are.
    pub layers: usize,
    /// How high the picture is.
    pub height: f64,
}

/// Lays out steps; `needs` are the edges to draw, each step after those it needs.
pub fn layout(needs: &[Vec<usize>]) -> Layout {
    let ranks = ranks(needs);
    let mut items: Vec<Item> =
        ranks.iter().enumerate().map(|(at, layer)| Item { step: Some(at), layer: *layer, y: 0.0 }).collect();
    let mut edges = Vec::new();
    // Long edges from one step share their way.
    let mut passing: HashMap<(usize, usize), usize> = HashMap::new();
    for (at, needs) in needs.iter().enumerate() {
        for &need in needs {
            let mut from = need;
            for layer in ranks[need] + 1..ranks[at] {
                let next = *passing.entry((need, layer)).or_insert_with(|| {
                    items.push(Item { step: None, layer, y: 0.0 });
                    edges.push((from, items.len() - 1));
                    items.len() - 1
                });
                from = next;
            }
            edges.push((from, at));
        }
    }
    let layers = items.iter().map(|item| item.layer + 1).max().unwrap_or(0);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); layers];
    for (at, item) in items.iter().enumerate() {
        columns[item.layer].push(at);
    }
    let (mut before, mut after) = (vec![Vec::new(); items.len()], vec![Vec::new(); items.len()]);
    for &(from, to) in &edges {
        before[to].push(from);
        after[from].push(to);
    }
    order(&mut columns, &before, &after);
    place(&columns, &before, &after, &mut items);
    let top = items.iter().map(|item| item.y - HEIGHT / 2.0).fold(f64::INFINITY, f64::min);
    let top = if top.is_finite() { top } else { 0.0 };
    items.iter_mut().for_each(|item| item.y -= top);
    let height = items.iter().map(|item| item.y + HEIGHT / 2.0).fold(0.0, f64::max);
    Layout { items, edges, layers, height }
}

/// The longest path from the left; what needs nothing moves right, to whoever needs it first.
fn ranks(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut ranks = vec![0; needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        ranks[at] = needs.iter().map(|need| ranks[*need] + 1).max().unwrap_or(0);
    }
    let mut first = vec![usize::MAX; needs.len()];
    for (at, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|need| first[*need] = first[*need].min(ranks[at]));
    }
    for (at, needs) in needs.iter().enumerate() {
        if needs.is_empty() && first[at] != usize::MAX {
            ranks[at] = first[at] - 1;
        }
    }
    ranks
}

/// Sorts each column by the mean place of its neighbours, forth and back.
fn order(columns: &mut [Vec<usize>], before: &[Vec<usize>], after: &[Vec<usize>]) {
    let count = before.len();
    let mut place = vec![0.0; count];
    let note = |column: &[usize], place: &mut [f64]| {
        column.iter().enumerate().for_each(|(at, item)| place[*item] = at as f64);
    };
    columns.iter().for_each(|column| note(column, &mut place));
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let neighbours = if forth { before } else { after };
        let range: Vec<usize> =
            if forth { (0..columns.len()).collect() } else { (0..columns.len()).rev().collect() };
        for layer in range {
            let column = &mut columns[layer];
            let mut keyed: Vec<(f64, usize)> = column
                .iter()
                .map(|item| (mean(&neighbours[*item], &place).unwrap_or(place[*item]), *item))
                .collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *column = keyed.into_iter().map(|(_, item)| item).collect();
            note(column, &mut place);
        }
    }
}

fn mean(of: &[usize], values: &[f64]) -> Option<f64> {
    (!of.is_empty()).then(|| of.iter().map(|item| values[*item]).sum::<f64>() / of.len() as f64)
}

/// Moves items towards their neighbours without changing the order of a column.
fn place(columns: &[Vec<usize>], before: &[Vec<usize>], after: &[Vec<usize>], items: &mut [Item]) {
    let room = |item: &Item| if item.step.is_some() { HEIGHT + GAP } else { LANE };
    // Middles from the top when packed.
    let mut packed = vec![0.0; items.len()];
    for column in columns {
        let mut y = 0.0;
        for &item in column {
            packed[item] = y + room(&items[item]) / 2.0;
            y += room(&items[item]);
        }
        column.iter().for_each(|item| items[*item].y = packed[*item] - y / 2.0);
    }
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let neighbours = if forth { before } else { after };
        let range: Vec<usize> =
            if forth { (0..columns.len()).collect() } else { (0..columns.len()).rev().collect() };
        for layer in range {
            let ys: Vec<f64> = items.iter().map(|item| item.y).collect();
            let wanted: Vec<f64> = columns[layer]
                .iter()
                .map(|item| mean(&neighbours[*item], &ys).unwrap_or(ys[*item]) - packed[*item])
                .collect();
            for (item, shift) in columns[layer].iter().zip(rising(&wanted)) {
                items[*item].y = packed[*item] + shift;
            }
        }
    }
}

/// The numbers that never fall and are nearest to the given ones: neighbours in the wrong order share their mean.
fn rising(wanted: &[f64]) -> Vec<f64> {
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for &value in wanted {
        let mut block = (value, 1);
        while let Some(&(sum, count)) = blocks.last()
            && sum / count as f64 > block.0 / block.1 as f64
        {
            block = (block.0 + sum, block.1 + count);
            blocks.pop();
        }
        blocks.push(block);
    }
    blocks.iter().flat_map(|(sum, count)| std::iter::repeat_n(sum / *count as f64, *count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_leads_to_the_next_column_and_no_steps_overlap() {
        // A chain of four, an edge around it, and two steps that need nothing.
        let layout = layout(&[vec![], vec![0], vec![1], vec![], vec![], vec![0, 2, 3, 4]]);
        assert_eq!(layout.layers, 4);
        assert!(
            layout.edges.iter().all(|(from, to)| layout.items[*from].layer + 1 == layout.items[*to].layer)
        );
        assert_eq!(layout.items[3].layer, 2, "a step without needs stands beside its first user");
        for a in &layout.items {
            for b in &layout.items {
                let both = a.step.is_some() && b.step.is_some() && a.step != b.step && a.layer == b.layer;
                assert!(!both || (a.y - b.y).abs() >= HEIGHT, "{a:?} {b:?}");
            }
            assert!(a.y >= 0.0 && a.y <= layout.height);
        }
    }

    #[test]
    fn an_order_without_crossings_is_found() {
        // Two chains, given crosswise.
        let layout = layout(&[vec![], vec![], vec![1], vec![0]]);
        let y = |at: usize| layout.items[at].y;
        assert_eq!(y(0) < y(1), y(3) < y(2));
    }

    #[test]
    fn numbers_that_fall_share_their_mean() {
        assert_eq!(rising(&[1.0, 3.0, 2.0, 5.0]), [1.0, 2.5, 2.5, 5.0]);
        assert_eq!(rising(&[3.0, 2.0, 1.0]), [2.0, 2.0, 2.0]);
        assert!(layout(&[]).items.is_empty());
    }
}
