// Package bench compares quorate with its peers on the same machine in the same run. Each
// benchmark prints ours, the peer's and the ratio; bench/run runs them all.
package bench
