package sim

import (
	"errors"
	"fmt"
	"slices"

	"quorate/config"
	"quorate/node"
)

// verbTrack sets what a track_file has or how many processes of a vrrp_track_process run.
func (s *Session) verbTrack(args []arg, _ string) (string, error) {
	if len(args) != 3 || args[2].op != "=" || args[2].key != "number" && args[2].key != "count" {
		return "", errors.New("expected a node, a track_file and number=, or a vrrp_track_process and count=")
	}
	h, err := s.host(args[0].key)
	if err != nil {
		return "", err
	}
	name, block := args[1].key, "track_file"
	known := h.conf != nil && slices.ContainsFunc(h.conf.TrackFiles, func(f *config.TrackFile) bool { return f.Name == name })
	if args[2].key == "count" {
		block = "vrrp_track_process"
		known = h.conf != nil && slices.ContainsFunc(h.conf.TrackProcesses, func(p *config.TrackProcess) bool { return p.Name == name })
	}
	if !known {
		return "", fmt.Errorf("%s has no %s %q in its configuration", h.Name, block, name)
	}
	n, err := number(args[2].key, args[2].val, 1000)
	if err != nil {
		return "", err
	}
	if h.tracked == nil {
		h.tracked = map[string]int{}
	}
	h.tracked[block+" "+name] = int(n)
	if h.proc != nil {
		for _, ev := range h.trackerNews() {
			h.feed(ev)
		}
	}
	return "", nil
}

// trackerNews says what files and processes there are. As long as no scenario says otherwise files have 0, and as many
// processes run as are wanted.
func (h *Host) trackerNews() (news []node.Event) {
	for _, f := range h.proc.trackers.Files {
		news = append(news, node.FileNumber{File: f.Name, Number: h.tracked["track_file "+f.Name]})
	}
	for _, c := range h.proc.trackers.Processes {
		n, set := h.tracked["vrrp_track_process "+c.Name]
		if !set {
			if n = c.Quorum.V; c.QuorumMax.Set {
				n = min(n, c.QuorumMax.V)
			}
		}
		news = append(news, node.ProcessCount{Process: c.Name, Running: n})
	}
	return news
}
