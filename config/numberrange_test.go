package config

import (
	"fmt"
	"regexp"
	"testing"
)

// The expression for a range knows every number in and around it.
func TestWholeNumbers(t *testing.T) {
	for _, r := range [][2]int64{{0, 0}, {0, 1}, {1, 255}, {2, 3}, {0, 4}, {5, 17}, {37, 254}, {-1, 255}, {-20, 19}, {-254, 254}, {-9, -3}, {99, 101}, {100, 999}, {8, 1000}, {1, 99}, {0, 1023}} {
		re := regexp.MustCompile("^" + wholeNumbers(r[0], r[1]) + "$")
		for n := int64(-1200); n < 1200; n++ {
			if in := n >= r[0] && n <= r[1]; re.MatchString(fmt.Sprint(n)) != in {
				t.Fatalf("%d..%d: %d: want %v with %s", r[0], r[1], n, in, re)
			}
		}
		if re.MatchString("") || re.MatchString("1x") || !re.MatchString(fmt.Sprintf("%05d", r[1])) {
			t.Errorf("%d..%d: %s", r[0], r[1], re)
		}
	}
	for _, r := range [][2]int64{{0, 4294967295}, {1, 65535}, {-2147483648, 2147483647}, {1, 2678400}} {
		re := regexp.MustCompile("^" + wholeNumbers(r[0], r[1]) + "$")
		for _, n := range []int64{r[0] - 1, r[0], r[0] + 1, 0, 9, 10, 99, 100, 9999, 10000, 1 << 20, r[1] - 1, r[1], r[1] + 1, 10*r[1] + 9} {
			if in := n >= r[0] && n <= r[1]; re.MatchString(fmt.Sprint(n)) != in {
				t.Errorf("%d..%d: %d: want %v with %s", r[0], r[1], n, in, re)
			}
		}
	}
}

func TestDecimals(t *testing.T) {
	for _, c := range []struct {
		lo, hi  string
		in, out []string
	}{
		{"0", "1000", []string{"0", "0.5", ".5", "7.", "999.999", "1000", "1000.0"}, []string{"1000.1", "1001", "-1", "x", "", "."}},
		{"0.01", "255", []string{"0.01", "1", "255", "254.99"}, []string{"255.5", "256", "-0.5"}},
		{"1000", "4294967", []string{"1000", "1000.5", "4294967"}, []string{"999", "4294968", "0"}},
		{"0.001", "4294.967295", []string{"0.001", "4294.967295", "4293.9"}, []string{"4295"}},
	} {
		re := regexp.MustCompile("^" + decimals(c.lo, c.hi) + "$")
		for _, s := range c.in {
			if !re.MatchString(s) {
				t.Errorf("%s..%s refuses %q: %s", c.lo, c.hi, s, re)
			}
		}
		for _, s := range c.out {
			if re.MatchString(s) {
				t.Errorf("%s..%s allows %q: %s", c.lo, c.hi, s, re)
			}
		}
	}
}
