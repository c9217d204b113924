package envoytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/envoy"
)

// Bounds on an Envoy's life here.
const (
	startTimeout = 20 * time.Second
	stopTimeout  = 5 * time.Second // then it is killed
	maxAdmin     = 1 << 20         // bytes of an answer of the administration
)

// Process is an Envoy that runs. It must be stopped.
type Process struct {
	dir       string
	admin     string
	listeners map[string]string
	log       *tail
	stop      context.CancelFunc
	done      chan struct{} // closed when the process has ended
}

// Start runs the Envoy at path with b, and returns when it takes requests. It
// ends with ctx or with Stop, whichever comes first. An error that says that
// Envoy did not start quotes the end of its log.
func Start(ctx context.Context, path string, b envoy.Bootstrap) (*Process, error) {
	config, err := b.YAML()
	if err != nil {
		return nil, err
	}
	return StartYAML(ctx, path, config)
}

// StartYAML is Start with a configuration in YAML or JSON. Its addresses may
// have port 0.
func StartYAML(ctx context.Context, path string, config []byte) (*Process, error) {
	dir, err := os.MkdirTemp("", "envoy-")
	if err != nil {
		return nil, err
	}
	p := &Process{dir: dir, log: new(tail), done: make(chan struct{})}
	if err := p.start(ctx, path, config); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("envoy did not start: %w\n%s", err, p.log), p.Stop())
	}
	return p, nil
}

func (p *Process) start(ctx context.Context, path string, config []byte) error {
	file := filepath.Join(p.dir, "envoy.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	ctx, p.stop = context.WithCancel(ctx)
	args := []string{
		"-c", file, "--disable-hot-restart", "--concurrency", "1",
		"--admin-address-path", p.adminFile(), "--log-level", "warning",
	}
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the caller chose this Envoy
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		p.stop()
		return fmt.Errorf("envoy: %w", err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in the log
	}()
	return nil
}

func (p *Process) adminFile() string { return filepath.Join(p.dir, "admin") }

// ready waits until the process takes requests, and learns its addresses.
func (p *Process) ready(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if addr, err := os.ReadFile(p.adminFile()); err == nil && len(addr) > 0 {
			p.admin = strings.TrimSpace(string(addr))
			if body, err := p.get(ctx, "/ready"); err == nil && strings.HasPrefix(body, "LIVE") {
				return p.learn(ctx)
			}
		}
		select {
		case <-p.done:
			return errors.New("it ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// learn reads the ports that the system chose.
func (p *Process) learn(ctx context.Context) error {
	body, err := p.get(ctx, "/listeners?format=json")
	if err != nil {
		return err
	}
	var answer struct {
		Statuses []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return fmt.Errorf("listeners: %w", err)
	}
	p.listeners = make(map[string]string)
	for _, s := range answer.Statuses {
		p.listeners[s.Name] = net.JoinHostPort(s.Local.Socket.Address, strconv.Itoa(s.Local.Socket.Port))
	}
	return nil
}

func (p *Process) get(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Admin()+path, nil)
	if err != nil {
		return "", err
	}
	req.Close = true // an idle connection would outlive the process
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAdmin))
	if resp.StatusCode != http.StatusOK && err == nil {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return string(body), err
}

// Addr is the host:port of a listener, or "" if there is none of that name.
// That of an envoy.Bootstrap is envoy.ListenerName.
func (p *Process) Addr(listener string) string { return p.listeners[listener] }

// Admin is the URL of the administration, without a slash at its end.
func (p *Process) Admin() string { return "http://" + p.admin }

// Log returns the end of what Envoy wrote.
func (p *Process) Log() string { return p.log.String() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop ends the process, by force if it takes long, and returns when it has
// ended. It may be called again.
func (p *Process) Stop() error {
	p.stop()
	<-p.done
	return os.RemoveAll(p.dir)
}
