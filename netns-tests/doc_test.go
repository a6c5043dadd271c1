// Package netnstests runs clusterd, clusterctl and real keepalived on real Linux network stacks.
//
// Each test opens a private lab (sim/netns): three directors, real servers, a client and a switch whose traffic is
// recorded. What a test asserts it reads from the kernels and from the capture, never from what a daemon believes.
// Tests that need IPVS run this same test binary again on a User Mode Linux kernel (sim/uml).
//
// TestMain builds clusterd and clusterctl once, then enters private namespaces (netns.Enter), so the tests run as root
// or as an ordinary user, touch nothing of the host's network and leave nothing behind. README.md says what each proves.
package netnstests
