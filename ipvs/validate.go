package ipvs

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Limits of what can be programmed.
const (
	// MaxWeight: the kernel holds more, but its netlink clients read weights back as 16 bits, so a larger one would
	// look like drift for ever.
	MaxWeight = 65535
	// MaxPersistence is ipvsadm's limit; the kernel multiplies the seconds by its tick rate in 32 bits.
	MaxPersistence = 31 * 24 * time.Hour
	// maxScheduler is IP_VS_SCHEDNAME_MAXLEN without the final NUL.
	maxScheduler = 15
)

// Validate returns everything in the table that a kernel would refuse or store as something else; nil if all is well.
func (t Table) Validate() error {
	var errs []error
	seen := make(map[Key]bool, len(t))
	for _, e := range t {
		k := e.Service.Key.normal()
		if seen[k] {
			errs = append(errs, fmt.Errorf("service %s: given twice", k))
		}
		seen[k] = true
		errs = append(errs, e.Validate())
	}
	return errors.Join(errs...)
}

// Validate is Table.Validate for one service and its destinations.
func (e Entry) Validate() error {
	errs := []error{e.Service.Validate()}
	seen := make(map[Destination]bool, len(e.Destinations))
	for _, d := range e.Destinations {
		at := Destination{Addr: d.Addr.Unmap(), Port: d.Port}
		if seen[at] {
			errs = append(errs, fmt.Errorf("service %s: destination %s given twice", e.Service.Key, d.AddrPort()))
		}
		seen[at] = true
		if err := d.Validate(e.Service.Key); err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", e.Service.Key, err))
		}
	}
	return errors.Join(errs...)
}

// Validate says whether the key names something a kernel can balance.
func (k Key) Validate() error {
	if k.FWMark != 0 {
		if k.Addr.IsValid() && !k.Addr.IsUnspecified() {
			return fmt.Errorf("service %s: has a firewall mark and the address %s; use one of them", k, k.Addr)
		}
		return nil
	}
	switch {
	case !k.Addr.IsValid():
		return errors.New("service has neither an address nor a firewall mark")
	case k.Addr.IsUnspecified() || k.Addr.IsMulticast():
		return fmt.Errorf("service %s: %s is not an address that traffic can be sent to", k, k.Addr)
	case k.Protocol != TCP && k.Protocol != UDP && k.Protocol != SCTP:
		return fmt.Errorf("service %s: IPVS balances tcp, udp and sctp, not IP protocol %d", k, uint8(k.Protocol))
	}
	return nil
}

// Validate says whether the service can be programmed.
func (s Service) Validate() error {
	if err := s.Key.Validate(); err != nil {
		return err
	}
	switch {
	case s.Scheduler == "":
		return fmt.Errorf("service %s: no scheduler; wlc is the usual one", s.Key)
	case len(s.Scheduler) > maxScheduler || strings.ContainsFunc(s.Scheduler, notName):
		return fmt.Errorf("service %s: %q cannot be a scheduler's name", s.Key, s.Scheduler)
	case s.Persistence < 0 || s.Persistence > MaxPersistence:
		return fmt.Errorf("service %s: persistence %s is outside 0 to %s", s.Key, s.Persistence, MaxPersistence)
	case s.Persistence%time.Second != 0:
		return fmt.Errorf("service %s: persistence %s; the kernel counts whole seconds", s.Key, s.Persistence)
	case s.FWMark == 0 && s.Port == 0 && s.Persistence == 0:
		return fmt.Errorf("service %s: port 0 means every port and needs persistence", s.Key)
	case s.Flags&^AllFlags != 0:
		return fmt.Errorf("service %s: unknown flags %s", s.Key, s.Flags&^AllFlags)
	case s.Flags&OnePacket != 0 && s.FWMark == 0 && s.Protocol != UDP:
		return fmt.Errorf("service %s: one-packet scheduling is for udp", s.Key)
	}
	return s.validateMask()
}

func (s Service) validateMask() error {
	if !s.Netmask.IsValid() {
		return nil
	}
	if s.Netmask.Unmap().Is4() == s.Key.Is6() {
		return fmt.Errorf("service %s: netmask %s is of the other address family", s.Key, s.Netmask)
	}
	if n, ok := PrefixLen(s.Netmask); !ok || n == 0 {
		return fmt.Errorf("service %s: %s is not a netmask", s.Key, s.Netmask)
	}
	return nil
}

// Validate says whether the destination can be programmed into the service.
func (d Destination) Validate(of Key) error {
	switch {
	case !d.Addr.IsValid():
		return errors.New("destination has no address")
	case d.Addr.IsUnspecified() || d.Addr.IsMulticast():
		return fmt.Errorf("destination %s: not the address of a server", d.AddrPort())
	case d.Addr.Unmap().Is6() != of.Is6():
		// A netlink request without the family attribute makes the kernel read the first four bytes of a v6 address
		// as a v4 one: fd00::1 becomes 253.0.0.0.
		return fmt.Errorf("destination %s: its address family is not that of the service", d.AddrPort())
	case d.Addr.Zone() != "":
		return fmt.Errorf("destination %s: the kernel's table has no zones; use a global address", d.AddrPort())
	case d.Weight < 0 || d.Weight > MaxWeight:
		return fmt.Errorf("destination %s: weight %d is outside 0 to %d", d.AddrPort(), d.Weight, MaxWeight)
	case d.Forward != NAT && d.Forward != Direct && d.Forward != Tunnel:
		return fmt.Errorf("destination %s: no forwarding method (nat, direct or tunnel)", d.AddrPort())
	case d.UpperThreshold != 0 && d.LowerThreshold > d.UpperThreshold:
		return fmt.Errorf("destination %s: lower threshold %d is above the upper one, %d", d.AddrPort(), d.LowerThreshold, d.UpperThreshold)
	}
	return nil
}

// Validate says whether a backend may try the operation. Deletions need no more than names.
func (o Op) Validate() error {
	switch o.Kind {
	case AddService, EditService:
		return o.Service.Validate()
	case DeleteService:
		return o.Service.Key.Validate()
	case AddDestination, EditDestination:
		return errors.Join(o.Service.Key.Validate(), o.Destination.Validate(o.Service.Key))
	case DeleteDestination:
		d := o.Destination
		d.Weight, d.Forward = 0, NAT
		return errors.Join(o.Service.Key.Validate(), d.Validate(o.Service.Key))
	}
	return fmt.Errorf("%s is no operation", o.Kind)
}

func notName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
}
