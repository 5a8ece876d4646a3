package feed

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A Known is a public feed that can be added by its name.
type Known struct {
	Feed
	About   string // what is on it
	License string // what its publisher allows, in short; the publisher's page has the last word
	Page    string // where the publisher tells about it
	Limited bool   // the license excludes some uses
}

const (
	hour = Duration(time.Hour)
	day  = 24 * hour

	abuseKey   = "ABUSECH_AUTH_KEY"
	abuseTerms = "CC0; the key is free at auth.abuse.ch"
)

// known are the public feeds that most users want first. What is not on it on purpose: FireHOL's level 1, which holds
// private and reserved networks; lists of advertisers (StevenBlack's hosts); PhishTank, which wants a registration.
//
// The interval of each is not below its publisher's wish, the least is that wish where one is told: abuse.ch 5 minutes,
// Spamhaus one hour ("at least one hour apart"), blocklist.de as often as it is made.
var known = []Known{
	abuse("urlhaus", "URLs that spread malware, of the last 30 days", "https://urlhaus.abuse.ch/downloads/csv_recent/", "urlhaus-api"),
	abuse("threatfox", "indicators of malware: addresses, domains, URLs, hashes, of the last days", "https://threatfox.abuse.ch/export/csv/recent/", "threatfox-api"),
	abuse("malwarebazaar", "hashes of malware samples, of the last 48 hours", "https://bazaar.abuse.ch/export/csv/recent/", "mb-api"),
	{
		Feed:    Feed{Name: "feodo", From: "https://feodotracker.abuse.ch/downloads/ipblocklist.csv", Format: "feodo", Every: hour, Least: Duration(5 * time.Minute), MayBeEmpty: true},
		About:   "command and control servers of botnets; often few",
		License: "CC0", Page: "https://feodotracker.abuse.ch/blocklist/",
	},
	spamhaus("spamhaus-drop", "drop_v4.json", "IPv4"),
	spamhaus("spamhaus-dropv6", "drop_v6.json", "IPv6"),
	{
		Feed:    Feed{Name: "ipsum", From: "https://raw.githubusercontent.com/stamparm/ipsum/master/ipsum.txt", Format: "ipsum", Every: day, Least: hour},
		About:   "addresses, each with the number of public lists that have it",
		License: "Unlicense", Page: "https://github.com/stamparm/ipsum",
	},
	{
		Feed:    Feed{Name: "openphish", From: "https://raw.githubusercontent.com/openphish/public_feed/refs/heads/main/feed.txt", Format: "plain", Every: 6 * hour, Least: hour},
		About:   "URLs of phishing pages",
		License: "non-commercial and internal business use only", Limited: true, Page: "https://openphish.com/faq.html",
	},
	{
		Feed:    Feed{Name: "cins", From: "https://cinsscore.com/list/ci-badguys.txt", Format: "plain", Every: 6 * hour, Least: hour},
		About:   "addresses of poor reputation, the CINS Army list",
		License: "not stated in the list", Page: "https://cinsscore.com/",
	},
	{
		Feed:    Feed{Name: "blocklist-de", From: "https://lists.blocklist.de/lists/all.txt", Format: "plain", Every: 2 * hour, Least: Duration(30 * time.Minute)},
		About:   "addresses that attacked servers in the last 48 hours",
		License: "not stated in the list", Page: "https://www.blocklist.de/en/export.html",
	},
	{
		Feed:    Feed{Name: "et-compromised", From: "https://rules.emergingthreats.net/blockrules/compromised-ips.txt", Format: "plain", Every: day, Least: hour},
		About:   "compromised hosts, by Emerging Threats",
		License: "not stated in the list", Page: "https://rules.emergingthreats.net/",
	},
	{
		Feed:    Feed{Name: "tor-exits", From: "https://check.torproject.org/torbulkexitlist", Format: "plain", Every: 3 * hour, Least: hour, Votes: new(int8)},
		About:   "exit nodes of Tor; taken as undecided: known, and not malicious by themselves",
		License: "not stated in the list", Page: "https://check.torproject.org/",
	},
	mispFeed("circl-osint", "https://www.circl.lu/doc/misp/feed-osint/", "open-source intelligence, as MISP events, by CIRCL"),
	mispFeed("botvrij", "https://www.botvrij.eu/data/feed-osint/", "open-source intelligence, as MISP events, by Botvrij.eu"),
	{
		Feed: Feed{
			Name: "otx", From: "https://otx.alienvault.com/api/v1/pulses/subscribed?limit=50", Format: "otx", Every: 6 * hour, Least: hour,
			KeyEnv: "OTX_API_KEY", KeyHeader: "X-OTX-API-KEY", KeyNeeded: true, MayBeEmpty: true,
		},
		About:   "the pulses that your AlienVault OTX account is subscribed to",
		License: "by the terms of OTX, with a free key", Page: "https://otx.alienvault.com/api",
	},
}

// abuse describes an export of abuse.ch. It is open to everybody; with a key it comes from the API, whose exports have
// the key in their path.
func abuse(name, about, open, api string) Known {
	return Known{
		Feed: Feed{
			Name: name, From: open, Format: name, Every: hour, Least: Duration(5 * time.Minute),
			KeyEnv: abuseKey, KeyFrom: "https://" + api + ".abuse.ch/v2/files/exports/" + keyMark + "/recent.csv",
		},
		About: about, License: abuseTerms, Page: "https://abuse.ch/blog/community-first/",
	}
}

func spamhaus(name, file, version string) Known {
	return Known{
		Feed:    Feed{Name: name, From: "https://www.spamhaus.org/drop/" + file, Format: "spamhaus-drop", Every: day, Least: hour},
		About:   version + " networks that are run by criminals: do not route or peer",
		License: "free for all, with credit to Spamhaus", Page: "https://www.spamhaus.org/blocklists/do-not-route-or-peer/",
	}
}

func mispFeed(name, from, about string) Known {
	return Known{
		Feed:  Feed{Name: name, From: from, Format: "misp-feed", Every: day, Least: hour},
		About: about, License: "by the tags of each event (TLP)", Page: "https://www.misp-project.org/feeds/",
	}
}

// KnownFeeds returns the public feeds that can be added by name.
func KnownFeeds() []Known { return slices.Clone(known) }

// ByName returns the known feed of that name.
func ByName(name string) (Known, bool) {
	i := slices.IndexFunc(known, func(k Known) bool { return k.Name == name })
	if i < 0 {
		return Known{}, false
	}
	return known[i], true
}

// Named returns the feeds that arg stands for: the name of a known one, threatcrowd:URL for the three lists that a
// ThreatCrowd server publishes under /feeds/, or the URL or path of one's own.
func Named(arg string) ([]Feed, error) {
	if k, ok := ByName(arg); ok {
		return []Feed{k.Feed}, nil
	}
	if base, ok := strings.CutPrefix(arg, "threatcrowd:"); ok {
		return threatCrowd(base)
	}
	f, err := Own(arg)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(f.From); err != nil && !isWeb(f.From) { // a known name that is misspelt looks like a path
		return nil, fmt.Errorf("%s: neither a known feed nor a URL, file or folder: %w", arg, err)
	}
	return []Feed{f}, nil
}

// threatCrowd returns the feeds of a ThreatCrowd server: one value per line, made anew every hour on the hour.
func threatCrowd(base string) (feeds []Feed, err error) {
	if _, err := parseURL(base); err != nil {
		return nil, fmt.Errorf("threatcrowd: %w", err)
	}
	for _, list := range []string{"domains", "ips", "hashes"} {
		feeds = append(feeds, Feed{
			Name: "threatcrowd-" + list, From: strings.TrimRight(base, "/") + "/feeds/" + list + ".txt", Format: "plain", Every: hour,
		})
	}
	return feeds, nil
}
