// Package bench compares quorate with its peers on the same machine in the same run. Each
// benchmark prints ours, the peer's and the ratio; bench/run runs them all.
//
// Those whose name begins with Sim measure the simulator, which has no peer: a simulated day of three directors, in simulated seconds per
// second of CPU time of the process, so that other work on the machine does not count.
//
//	go test ./bench -run '^$' -bench 'Sim(VRRP|Store)' -benchtime 1x            without and with random faults; -short: two hours
//	go test ./bench -run '^$' -bench SimStore -short -cpuprofile cpu.prof       where the time goes
package bench
