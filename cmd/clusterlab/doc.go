// Command clusterlab carries out "clusterctl sim", "clusterctl demo" and "clusterctl vrrp": the simulator, the private lab and the
// decoder of captures. It is a program of its own because what these need (the tables of all protocols above all) would make every
// "clusterctl check" take twice as long and twice the memory. clusterctl starts it; both belong in one directory.
//
// sim.go plays scenarios in virtual time and sim_real.go on real kernels, sim_swarm.go searches, sim_look.go and sim_files.go list,
// explain and find them; vrrp.go and vrrplive.go judge a capture or an interface; demo.go is the main job.
package main
