package node

import (
	"fmt"
	"slices"
	"testing"

	"quorate/config"
)

// TestVirtualInterfaces: the interfaces that keepalived 2.2.7 made from the same files.
func TestVirtualInterfaces(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"one id on two interfaces, addresses on others", `vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    use_vmac
    use_vmac_addr
    virtual_ipaddress {
        10.9.0.100
        10.7.0.99/24 dev eth1
        10.9.0.98 dev eth0
    }
    virtual_ipaddress_excluded {
        2001:db8::100/64 dev eth1
    }
}
vrrp_instance VI_3 {
    interface eth1
    virtual_router_id 52
    use_vmac
    virtual_ipaddress {
        10.7.0.104/24
    }
}
vrrp_instance VI_4 {
    interface eth0
    virtual_router_id 52
    use_vmac
    virtual_ipaddress {
        10.9.0.104/24
    }
}
`, []string{"vrrp.51@eth0 00:00:5e:00:01:33", "vrrp1.51@eth1 00:00:5e:00:01:33", "vrrp6.51@eth1 00:00:5e:00:02:33",
			"vrrp.52@eth1 00:00:5e:00:01:34", "vrrp1.52@eth0 00:00:5e:00:01:34"}},
		{"prefixes, both families, an address of its own", `global_defs {
    vmac_prefix vm
    vmac_addr_prefix va
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    use_vmac
    virtual_ipaddress {
        10.9.0.100
        10.9.0.99/24 dev eth1 use_vmac
    }
    virtual_ipaddress_excluded {
        2001:db8::100/64
    }
}
vrrp_instance VI_2 {
    interface eth0
    virtual_router_id 51
    version 3
    use_vmac
    virtual_ipaddress {
        fe80::54
        2001:db8::51
    }
}
vrrp_instance VI_4 {
    interface eth1
    virtual_router_id 52
    use_vmac 02:00:5e:00:01
    virtual_ipaddress {
        10.7.0.105/24
    }
}
vrrp_instance VI_5 {
    interface eth1
    virtual_router_id 53
    virtual_ipaddress {
        10.7.0.106/24 use_vmac
    }
}
`, []string{"vm.51@eth0 00:00:5e:00:01:33", "va.51@eth1 00:00:5e:00:01:33", "vm6.51@eth0 00:00:5e:00:02:33", "vm.52@eth1 02:00:5e:00:01:34", "va.53@eth1 00:00:5e:00:01:35"}},
	} {
		c, found := config.Parse("k.conf", config.Files{"k.conf": tt.text}, config.Options{})
		if found.HasErrors() {
			t.Fatal(found)
		}
		var got []string
		for _, v := range VirtualInterfaces(c) {
			got = append(got, fmt.Sprintf("%s@%s %s", v.Name, v.Parent, MAC(v.MAC)))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
}
