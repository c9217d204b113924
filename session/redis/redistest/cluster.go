package redistest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

// slots is how many there are in every cluster.
const slots = 16384

// Cluster is three masters without replicas.
type Cluster struct {
	URL   string // redis+cluster://…
	Nodes []*Server

	tb  testing.TB
	ids []string // of Nodes
}

// StartCluster starts the nodes, with further flags, and shares the slots.
func StartCluster(tb testing.TB, flags ...string) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	var addrs []string
	for i := range 3 {
		_, bus, err := net.SplitHostPort(freeAddr(tb))
		if err != nil {
			tb.Fatal(err)
		}
		n := Start(tb, append([]string{
			"--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", bus,
			// A test that stops a node wants to know what becomes of the others.
			"--cluster-require-full-coverage", "no",
		}, flags...)...)
		c.Nodes, addrs = append(c.Nodes, n), append(addrs, n.Addr)
		c.ids = append(c.ids, fmt.Sprint(n.Do("CLUSTER", "MYID")))
		host, port, err := net.SplitHostPort(n.Addr)
		if err != nil {
			tb.Fatal(err)
		}
		n.Do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		n.Do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		if i > 0 {
			c.Nodes[0].Do("CLUSTER", "MEET", host, port, bus)
		}
	}
	c.URL = "redis+cluster://" + strings.Join(addrs, ",")
	await(tb, "all nodes know every slot", func() bool {
		return !slices.ContainsFunc(c.Nodes, func(n *Server) bool {
			info := fmt.Sprint(n.try("CLUSTER", "INFO"))
			return !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_known_nodes:3") ||
				!strings.Contains(info, fmt.Sprintf("cluster_slots_assigned:%d", slots))
		})
	})
	return c
}

// Slot returns the slot of a key: the CRC-16 (XMODEM) of its hash tag, as the
// specification of Redis Cluster has it.
func Slot(key string) int {
	if _, rest, found := strings.Cut(key, "{"); found {
		if tag, _, closed := strings.Cut(rest, "}"); closed && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for _, b := range []byte(key) {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			if crc <<= 1; carry {
				crc ^= 0x1021
			}
		}
	}
	return int(crc) % slots
}

// Of returns which node has a slot.
func (c *Cluster) Of(slot int) int {
	c.tb.Helper()
	for i, n := range c.Nodes {
		own, ok := n.Do("CLUSTER", "NODES").(string)
		if !ok {
			c.tb.Fatal("CLUSTER NODES answers with no text")
		}
		for line := range strings.Lines(own) {
			if words := strings.Fields(line); strings.Contains(words[2], "myself") && has(words[8:], slot) {
				return i
			}
		}
	}
	c.tb.Fatalf("nobody has slot %d", slot)
	return 0
}

func has(ranges []string, slot int) bool {
	for _, r := range ranges {
		var first, last int
		if n, _ := fmt.Sscanf(r, "%d-%d", &first, &last); n == 1 {
			last = first
		}
		if !strings.HasPrefix(r, "[") && first <= slot && slot <= last {
			return true
		}
	}
	return false
}

// Move moves a slot to a node, with its keys, one by one. Between, if not nil, is
// called when the slot is on its way, before its first key is.
func (c *Cluster) Move(slot, to int, between func()) {
	c.tb.Helper()
	from := c.Of(slot)
	source, target := c.Nodes[from], c.Nodes[to]
	target.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from])
	source.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to])
	if between != nil {
		between()
	}
	host, port, err := net.SplitHostPort(target.Addr)
	if err != nil {
		c.tb.Fatal(err)
	}
	for {
		keys, ok := source.Do("CLUSTER", "GETKEYSINSLOT", slot, 1).([]any)
		if !ok || len(keys) == 0 {
			break
		}
		source.Do("MIGRATE", host, port, keys[0], 0, 5000)
	}
	for _, i := range []int{to, from, 3 - to - from} {
		c.Nodes[i].Do("CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
	}
}
