// Package clustertest holds what every implementation of cluster.Store is tested with: Conformance, the contract as
// tests, and Model, the contract as the shortest program that keeps it.
//
// A store's own tests call
//
//	func TestConformance(t *testing.T) {
//		clustertest.Conformance(t, func(t *testing.T) cluster.Store { … })
//	}
//
// and add what is particular to it: crashes, partitions, full disks. Only tests import this package.
package clustertest
