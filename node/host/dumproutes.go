package host

import (
	"fmt"
	"strings"

	"quorate/config"
)

// routeLines are virtual_routes as keepalived 2.2.7 prints them (measured).
func routeLines(list []config.Route) []string {
	var out []string
	for _, r := range list {
		op := routeOp{route: r}
		h, err := op.head()
		if err != nil {
			out = append(out, r.Text)
			continue
		}
		line := "prepend"
		if _, ok := r.Option("append"); ok {
			line = "append"
		} else if _, ok := r.Option("add"); ok || r.Type != "unicast" {
			line = "add"
		}
		if r.Type != "unicast" {
			line += " " + r.Type
		}
		line += " " + r.Dest.String()
		if r.Src.IsValid() {
			line += " src " + r.Src.String()
		}
		if r.Via.IsValid() {
			line += map[bool]string{true: " via inet6 ", false: " via inet "}[r.Via.Is6()] + r.Via.String()
		}
		if r.Dev != "" {
			line += " dev " + r.Dev
		}
		if r.Table != "" {
			line += fmt.Sprintf(" table %d", h.table)
		}
		line += fmt.Sprintf(" proto %d", h.protocol)
		if r.Metric > 0 {
			line += fmt.Sprintf(" metric %d", r.Metric)
		}
		if r.NoTrack || r.Dev == "" {
			line += " no_track"
		}
		out = append(out, line)
	}
	return out
}

// ruleLines are virtual_rules as keepalived 2.2.7 prints them (measured).
func ruleLines(list []config.Rule) []string {
	var out []string
	for _, r := range list {
		line := ""
		if r.Not {
			line = "not "
		}
		line += "from "
		if r.From.IsValid() {
			line += r.From.String()
		} else {
			line += "all"
		}
		if r.To.IsValid() {
			line += " to " + r.To.String()
		}
		service, _ := r.Option("tos", "dsfield")
		number, _ := tos(service)
		line += fmt.Sprintf(" priority %d tos 0x%x", r.Preference, number)
		for _, o := range r.Options {
			switch o.Name {
			case "tos", "dsfield", "protocol", "inet", "inet6", "track_group":
			default:
				line += " " + strings.TrimSpace(o.Name+" "+o.Value)
			}
		}
		line += fmt.Sprintf(" protocol %d ", protocolKeepalived)
		if n, err := iprouteNumber("rt_tables", r.Table); r.Table != "" && err == nil {
			line += fmt.Sprintf("lookup %d", n)
		} else {
			line += r.Action
		}
		out = append(out, line)
	}
	return out
}
