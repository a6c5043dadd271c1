package ipvs_test

import (
	"fmt"

	"quorate/ipvs"
	"quorate/ipvs/ipvstest"
)

// A director wants one table and finds another: the difference is what to do.
func ExamplePlan() {
	desired, err := ipvs.Parse(`
		-A -t 192.168.2.240:80 -s wlc -p 60
		-a -t 192.168.2.240:80 -r 192.168.2.11:80 -g -w 3
		-a -t 192.168.2.240:80 -r 192.168.2.12:80 -g -w 1`)
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := ipvs.Parse(`
		-A -t 192.168.2.240:80 -s rr
		-a -t 192.168.2.240:80 -r 192.168.2.12:80 -g -w 1
		-a -t 192.168.2.240:80 -r 192.168.2.13:80 -g -w 1`)
	if err != nil {
		fmt.Println(err)
		return
	}
	backend := ipvstest.New(found)
	actual, err := backend.Table()
	if err != nil {
		fmt.Println(err)
		return
	}
	ops := ipvs.Plan(desired, actual, nil)
	for _, op := range ops {
		fmt.Println(op)
	}
	if err := backend.Apply(ops); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ipvsadm -E -t 192.168.2.240:80 -s wlc -p 60
	// ipvsadm -a -t 192.168.2.240:80 -r 192.168.2.11:80 -g -w 3
	// ipvsadm -d -t 192.168.2.240:80 -r 192.168.2.13:80
}
