// Command clusterd runs on every director.
//
//	clusterd                     a member of a cluster: the state directory says of which
//	clusterd -n -f FILE          standalone: does with a keepalived.conf what keepalived does
//	clusterd -t -f FILE          test the file, exit 0, 4 or 5 as keepalived
//
// The process started by hand is a small parent (host.Watch). It runs itself again as the
// workers: vrrp, checker and, in a cluster, cluster. main.go maps flags and signals to a
// settings value; worker.go runs the part a process was started for.
package main
