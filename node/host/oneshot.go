package host

import (
	"context"
	"log/slog"
	"time"

	"quorate/config"
)

// scriptTimeout is how long startup_script and shutdown_script may run when the configuration does not say (keepalived).
const scriptTimeout = 10 * time.Second

// RunStartupScript runs startup_script, if there is one, and waits for it. A configuration that cannot be read has none: whoever is
// to run it will say why.
func RunStartupScript(ctx context.Context, load func() (*config.Config, int64, error), log *slog.Logger) {
	runOnce(ctx, "startup_script", load, log, func(g *config.Global) (*config.Command, time.Duration) {
		return g.StartupScript, g.StartupTimeout.V
	})
}

// RunShutdownScript runs shutdown_script, if there is one, and waits for it.
func RunShutdownScript(ctx context.Context, load func() (*config.Config, int64, error), log *slog.Logger) {
	runOnce(ctx, "shutdown_script", load, log, func(g *config.Global) (*config.Command, time.Duration) {
		return g.ShutdownScript, g.ShutdownTimeout.V
	})
}

func runOnce(ctx context.Context, what string, load func() (*config.Config, int64, error), log *slog.Logger,
	which func(*config.Global) (*config.Command, time.Duration)) {
	cfg, _, err := load()
	if cfg == nil {
		log.Debug(what+" is not known", "error", err)
		return
	}
	c, limit := which(&cfg.Global)
	if c == nil {
		return
	}
	if limit == 0 {
		limit = scriptTimeout
	}
	s := newSpawner()
	defer s.close()
	p, err := s.run(*c, nil, identityOf(cfg.Global))
	if err != nil {
		log.Warn(what+" cannot be started", "script", name(*c), "error", err)
		return
	}
	if !p.wait(limit, ctx.Done()) {
		log.Warn(what+" was ended before it was done", "script", name(*c), "limit", limit)
		return
	}
	if code, detail := p.outcome(); code != 0 {
		log.Warn(what+" failed", "script", name(*c), "detail", detail)
		return
	}
	log.Info(what+" is done", "script", name(*c))
}
