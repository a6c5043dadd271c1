// Command clusterctl is the operator's tool. It talks to the clusterd of the same host through its control socket and shows or
// changes the whole cluster; init, join and check need no clusterd.
//
//	clusterctl init --name d1 --address 10.0.0.1         the first director; prints a join token
//	clusterctl join TOKEN --name d2 --address 10.0.0.2   each further one
//	clusterctl push keepalived.conf -m "add web4"        check everywhere, commit, wait until all run it
//	clusterctl status                                    one line of verdict, who owns what, what to do
//	clusterctl why VI_1                                  why it moved last: transition, cause, what went before
//	clusterctl history | get | rollback                  every generation is kept
//	clusterctl check FILE...                             what is wrong with it, as text, JSON or SARIF
//	clusterctl render --node d2 FILE | fmt | diff | import   what a director reads, layout, what a change means, one file of many
//	clusterctl sim run --conf keepalived.conf            what would happen if a director died
//
// Exit codes: 0 good; 1 failed; 2 wrong usage; 4 the configuration has errors (nothing was changed); 6 no quorum, or clusterd does
// not answer; 7 --if-rev conflict or a name that is taken; 8 committed, but a director cannot run it; 9 time-out.
//
// main.go ends the process; root.go makes the tree of commands, package console has what they share; lab.go hands sim, demo and
// vrrp to clusterlab; one file per group of commands maps flags to calls of package api; statusview.go draws the status and is tested against golden files.
package main
