package lookup

import (
	"net/netip"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"iocpipe/extract"
)

// maxGroups bounds the groups whose answers are remembered, and maxHot the hosts that met something malicious.
const (
	maxGroups = 4096
	maxHot    = 1024
)

// hotFor is how long a host that met something malicious casts suspicion on what else it meets.
const hotFor seconds = 600

// network returns the neighbourhood of an address, its /24 or for IPv6 its /48; the zero Prefix for what is no address.
func network(addr string) netip.Prefix {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}
	}
	width := 24
	if ip.Is6() {
		width = 48
	}
	prefix, _ := ip.Prefix(width) // errs only for a width that the address cannot have
	return prefix
}

// evidence is what the answers about one group have shown.
type evidence struct {
	answers, malicious uint32
}

// groupStrength is how many answers of a group, or about what looks the same, weigh as much as what was thought before.
const groupStrength = 8

// pull returns p, drawn towards what the group has shown.
func (e evidence) pull(p float64) float64 {
	return (groupStrength*p + float64(e.malicious)) / (groupStrength + float64(e.answers))
}

// groups remembers the evidence of the groups that were asked about last, by the hash of their name.
type groups struct {
	lru *simplelru.LRU[uint64, evidence]
}

func newGroups() groups {
	lru, _ := simplelru.NewLRU[uint64, evidence](maxGroups, nil) // errs only for a size below 1
	return groups{lru}
}

func (g groups) add(group uint64, malicious bool) {
	if group == 0 {
		return
	}
	e, _ := g.lru.Peek(group)
	e.answers++
	if malicious {
		e.malicious++
	}
	g.lru.Add(group, e)
}

func (g groups) of(group uint64) evidence {
	if group == 0 {
		return evidence{}
	}
	e, _ := g.lru.Peek(group)
	return e
}

// hotHosts remembers when hosts last met something malicious, by the hash of their name.
type hotHosts struct {
	lru *simplelru.LRU[uint64, seconds]
}

func newHotHosts() hotHosts {
	lru, _ := simplelru.NewLRU[uint64, seconds](maxHot, nil) // errs only for a size below 1
	return hotHosts{lru}
}

func (h hotHosts) met(host uint64, now seconds) {
	if host != 0 {
		h.lru.Add(host, now)
	}
}

// any reports whether one of the hosts met something malicious lately.
func (h hotHosts) any(hosts []uint64, now seconds) bool {
	if h.lru.Len() == 0 {
		return false
	}
	for _, host := range hosts {
		if at, ok := h.lru.Peek(host); ok && now-at <= hotFor {
			return true
		}
	}
	return false
}

// typeCounts counts the indicators that entered the table, by type. What a log hardly ever holds is telling when it
// does: an address among the names of a resolver's log was typed in by nobody. Whoever floods the log with a rare type
// makes it a common one.
type typeCounts struct {
	all    uint64
	byType [16]uint64 // as many as a [extract.TypeSet] can tell apart
}

func (c *typeCounts) add(t extract.Type) {
	c.all++
	c.byType[t]++
}

// rare reports whether fewer than one in a hundred are of type t. The first few say nothing.
func (c *typeCounts) rare(t extract.Type) bool {
	const enough = 200
	return c.all >= enough && 100*c.byType[t] < c.all
}
