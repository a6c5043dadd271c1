package host

import (
	"path/filepath"

	"quorate/config"
	"quorate/node"
)

// Staged is where generations lie that the cluster is about to activate, beside those that were.
func (s *Generations) Staged() *Generations {
	return &Generations{Dir: filepath.Join(s.Dir, "staged")}
}

// staged is a configuration to accept adverts of, not to run.
type staged struct{ cfg *config.Config }

// stage reads a staged generation. It may fail without harm: members then refuse each other's adverts for as
// long as they run different address lists.
func (w *worker) stage(n int64) {
	g, err := w.gens.Staged().Load(n)
	if err != nil {
		w.log.Warn("staged generation", "generation", n, "error", err)
		return
	}
	cfg, err := w.parse(g)
	if err != nil {
		w.log.Warn("staged generation", "generation", n, "error", err)
		return
	}
	w.post(staged{cfg})
}

func (s staged) event() node.Event { return node.Stage{Config: s.cfg} }
