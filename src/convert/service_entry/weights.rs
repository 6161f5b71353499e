//! Weights: fractions become integers by one common factor.

use crate::model::endpoint::Weight;

/// Envoy keeps the sum of the weights in 32 bits. Half of that leaves room for weights that are rounded up to 1.
const MAX_SUM: u64 = 1 << 31;

/// The weights to publish, in the order of `weights`, none of which is zero. Equal ones say nothing and become 0,
/// which is Istio's word for absent.
pub(super) fn scale(weights: &[Weight]) -> Vec<u32> {
    let thousandths = || weights.iter().map(|w| u64::from(w.thousandths()));
    let Some(first) = thousandths().next() else { return Vec::new() };
    if thousandths().all(|w| w == first) {
        return vec![0; weights.len()];
    }
    let common = thousandths().fold(0, gcd).max(1);
    let sum: u64 = thousandths().map(|w| w / common).sum();
    let shrink = sum.div_ceil(MAX_SUM).max(1);
    thousandths().map(|w| u32::try_from((w / common / shrink).max(1)).unwrap_or(u32::MAX)).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(weights: &[f64]) -> Vec<u32> {
        scale(&weights.iter().map(|w| Weight::new(*w).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn equal_weights_are_left_out() {
        assert_eq!(scaled(&[]), [0; 0]);
        assert_eq!(scaled(&[7.0]), [0]);
        assert_eq!(scaled(&[0.5, 0.5, 0.5]), [0, 0, 0]);
    }

    #[test]
    fn fractions_become_integers_by_a_common_factor() {
        assert_eq!(scaled(&[0.5, 1.0]), [1, 2]);
        assert_eq!(scaled(&[0.25, 1.0, 1.5]), [1, 4, 6]);
        assert_eq!(scaled(&[10.0, 30.0]), [1, 3]);
        assert_eq!(scaled(&[0.001, 1.0]), [1, 1000]);
    }

    #[test]
    fn great_weights_shrink_together() {
        let made = scaled(&[1e6, 999_999.0, 1e6, 1e6, 1.0]);
        assert!(made.iter().map(|w| u64::from(*w)).sum::<u64>() <= u64::from(u32::MAX));
        assert!(made[0] >= made[1] && made[1] > 100_000 * made[4]);
    }

    proptest! {
        #[test]
        fn sums_fit_and_order_is_kept(weights in prop::collection::vec(0.001f64..2e6, 1..200)) {
            let made = scaled(&weights);
            prop_assert!(made.iter().map(|w| u64::from(*w)).sum::<u64>() <= u64::from(u32::MAX));
            let all_zero = made.iter().all(|w| *w == 0);
            prop_assert!(all_zero || made.iter().all(|w| *w > 0));
            for (a, x) in weights.iter().zip(&made) {
                for (b, y) in weights.iter().zip(&made) {
                    prop_assert!(a > b || x <= y || (x - y) == 0, "{} {} {} {}", a, b, x, y);
                }
            }
        }
    }
}
