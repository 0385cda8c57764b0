/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * THE contract between the BPF programs and user space: map keys and values, identifiers, and the
 * tag that travels in a source MAC address. Nothing here is defined a second time anywhere.
 *
 * Included by: everything in bpf/, and lib/ through lib/abi_user.h.
 * Byte order:  __be16/__be32 fields are in wire order; everything else is in host order.
 * Versioning:  IPSECBPF_ABI_VERSION is compiled into both sides and pinned in the map `control`;
 *              a mismatch is refused (lib/loader.c). Enumerators are never renumbered.
 */
#ifndef IPSECBPF_ABI_H
#define IPSECBPF_ABI_H

#include <linux/bpf.h>
#include <linux/types.h>

#define IPSECBPF_ABI_VERSION 5

/* ---- limits ------------------------------------------------------------------------------- */

#define PROTECT_MAX		4096	/* live (peer, protection) pairs of one attachment */
#define SA_SLOTS_DEFAULT	1024	/* SAs of one attachment unless asked otherwise */
#define SA_SLOTS_MAX		131072
#define REPLAY_WINDOW_MAX	4096	/* packets (RFC 6479 bitmap, one spare word) */
#define REPLAY_WORDS		(REPLAY_WINDOW_MAX / 64 + 1)
#define NAME_LEN		64	/* peer, protection and rule names, with the final NUL */
#define POLICY_TEXT_CHUNK	4096	/* bytes of canonical JSON per element of a policy text map */
#define QUEUES_MAX		64	/* NIC queues served by wire ports */
#define OWN_ADDRESSES_MAX	4096	/* addresses of this host */
#define INBOUND_SAS_MAX		4	/* per peer and protection: room for a rotation */
#define FRAGMENTS_WAIT_NS	10000000000ull	/* for the others (RFC 1122 3.3.2 says a minute) */
#define BUNDLE_MAX		3	/* SAs around one packet (RFC 4301 4.5, appendix E) */
#define APPS_MAX		10000	/* applications of one policy */
#define APP_CGROUP_LEVELS	8	/* of cgroups below the root that an application is known by */
#define APP_FLOWS_MAX		262144	/* connections of all applications of one attachment */
#define APP_ENDPOINTS_MAX	65536	/* bound local addresses of theirs */

/* ---- words (RFC 4301) ---------------------------------------------------------------------- */

/* X(enumerator, JSON word) */
#define SPD_ACTIONS(X)		\
	X(BYPASS, "bypass")	\
	X(DISCARD, "discard")	\
	X(PROTECT, "protect")

enum spd_action {
#define X(id, word) SPD_##id,
	SPD_ACTIONS(X)
#undef X
	SPD_ACTION_COUNT
};

/* What becomes of packets that cannot be protected. */
enum spd_level { LEVEL_MANDATORY, LEVEL_OPTIONAL };

enum spd_direction { SPD_IN, SPD_OUT, SPD_DIRECTION_COUNT };
enum ip_family { FAMILY_V4, FAMILY_V6, FAMILY_COUNT };

/* Traffic that a policy may name as essential: passes whatever the rules say. X(id, word, what) */
#define ESSENTIAL_TRAFFIC(X)								\
	X(ARP, "arp", "ARP (ethertype 0x0806)")						\
	X(ND, "nd", "IPv6 neighbour and router discovery (ICMPv6 133-137, hop limit 255)")	\
	X(DHCP, "dhcp", "DHCPv4 (UDP 67-68) and DHCPv6 (UDP 546-547)")			\
	X(IKE, "ike", "IKE (UDP 500, and UDP 4500 with the non-ESP marker)")		\
	X(MLD, "mld", "IPv6 multicast listener discovery (ICMPv6 130-132 and 143, hop limit 1)")

enum essential_bit {
#define X(id, word, what) ESSENTIAL_BIT_##id,
	ESSENTIAL_TRAFFIC(X)
#undef X
	ESSENTIAL_BIT_COUNT
};
#define ESSENTIAL(id) (1u << ESSENTIAL_BIT_##id)
#define ESSENTIAL_ALL ((1u << ESSENTIAL_BIT_COUNT) - 1)

/*
 * Why a packet was dropped. X(enumerator, JSON/CLI word, where it is decided, one documented line).
 * Numbers are stable: append only. The same list counts drops in BPF (map `drops`) and in the
 * worker (struct worker_stats.drops).
 */
#define DROP_REASONS(X)									\
	X(NONE, "none", "-", "not dropped")						\
	X(MALFORMED, "malformed", "bpf+worker", "a header is cut short or its lengths lie")	\
	X(NO_POLICY, "no_policy", "bpf",						\
	  "not essential, and no policy is loaded yet, or socket hooks that it needs are off")	\
	X(GUARD, "guard", "bpf", "detached, the guard is left in place, and policy says protect")	\
	X(POLICY_DISCARD, "policy_discard", "bpf", "an SPD rule or default says discard")	\
	X(NON_IP, "non_ip", "bpf", "not IP, and the policy's default for other ethertypes is discard")	\
	X(CLEAR_TEXT, "clear_text", "bpf", "arrived in the clear, but policy demands protection")	\
	X(NO_SA_OUT, "no_sa_out", "bpf", "policy says protect, and no outbound SA exists for the peer")	\
	X(NO_SA_IN, "no_sa_in", "bpf", "ESP or AH whose (destination, SPI) is not in the SAD")	\
	X(SA_SOURCE, "sa_source", "bpf+worker", "right SPI from the wrong source address or port")	\
	X(REPLAY_OLD, "replay_old", "bpf+worker", "sequence number left of the replay window")	\
	X(REPLAY_DUP, "replay_dup", "worker", "sequence number already received")	\
	X(ICV, "icv", "worker", "integrity check failed")				\
	X(ESP_FRAGMENT, "esp_fragment", "worker", "a reassembled packet is a fragment still")	\
	X(FRAGMENT_TRANSPORT, "fragment_transport", "worker",				\
	  "an IP fragment cannot be protected in transport mode")			\
	X(WIRE_PORT, "wire_port", "bpf", "no worker is listening on this queue")	\
	X(HOST_TAG, "host_tag", "bpf+worker", "a frame on the host port without a valid SA tag")	\
	X(STALE_SA, "stale_sa", "bpf+worker", "the SA in the tag has been removed or replaced")	\
	X(SEQ_EXHAUSTED, "seq_exhausted", "worker", "the SA has used up its sequence numbers")	\
	X(SEQ_UNRESERVED, "seq_unreserved", "worker", "no sequence numbers reserved on disk yet")	\
	X(SA_SELECTOR, "sa_selector", "worker",						\
	  "inner addresses or protocol are not what the SA carries")			\
	X(INNER_POLICY, "inner_policy", "bpf",						\
	  "decrypted packet that the inbound SPD does not expect from this SA")		\
	X(PADDING, "padding", "worker", "ESP padding is wrong in value or length")	\
	X(TOO_BIG, "too_big", "worker", "does not fit the MTU after protection")	\
	X(NO_BUFFER, "no_buffer", "worker", "no free frame or a full ring")		\
	X(UNSUPPORTED, "unsupported", "worker", "a header arrangement this version cannot protect")	\
	X(HOST_PORT, "host_port", "worker", "the host port did not take the packet")	\
	X(DUMMY_NEXT_HEADER, "dummy", "worker",						\
	  "traffic-flow-confidentiality dummy (RFC 4303 2.6), dropped by design")	\
	X(INTERNAL, "internal", "bpf+worker", "a helper failed; fail closed")		\
	X(BUNDLE, "bundle", "bpf+worker", "an SA of a bundle, without or in another than its outer SA")	\
	X(LIFETIME, "lifetime", "worker", "the SA has reached a hard limit")		\
	X(REASSEMBLY, "reassembly", "worker", "fragments overlap, or their offsets lie (RFC 5722)")	\
	X(REASSEMBLY_FULL, "reassembly_full", "worker", "no room for another packet in fragments") \
	X(REASSEMBLY_TIME, "reassembly_timeout", "worker", "the other fragments did not come in time") \
	X(FRAGMENT_POLICY, "fragment_policy", "worker",					\
	  "a fragment, and the protection says to discard them")			\
	X(OWN_SOURCE, "own_source", "bpf",						\
	  "came from outside with a source address of this host")			\
	X(ECN, "ecn", "worker", "congestion mark that the inner packet cannot carry (RFC 6040)") \
	X(PTB_REFUSED, "ptb_refused", "worker",						\
	  "a packet-too-big message that quotes nothing we have sent lately")		\
	X(UDP_ENCAP, "udp_encap", "worker", "UDP around ESP is cut short, or its lengths lie") \
	X(FRAGMENT_DUP, "fragment_dup", "worker", "the same fragment once more")	\
	X(UNVERIFIED, "unverified", "bpf",						\
	  "for a socket that demands protection, and no SA of its policy has verified it")	\
	X(UNASKED, "unasked", "bpf",							\
	  "in the clear under an optional protection, and the socket has not sent there")	\
	X(OPTIONAL_RATE, "optional_rate", "bpf",					\
	  "more clear text under an optional protection than the application may receive") \
	X(APP_FULL, "app_full", "bpf", "no room to note which application a packet belongs to")

enum drop_reason {
#define X(id, word, where, text) DROP_##id,
	DROP_REASONS(X)
#undef X
	DROP_REASON_COUNT
};
#define DROP_SLOTS 64	/* array sizes: room to append */

/* Packets that were not dropped, counted by the BPF programs. X(id, word, text) */
#define PASS_COUNTERS(X)								\
	X(IN_BYPASS, "in_bypass", "inbound, passed in the clear by policy")		\
	X(OUT_BYPASS, "out_bypass", "outbound, sent in the clear by policy")		\
	X(IN_ESSENTIAL, "in_essential", "inbound, essential traffic")			\
	X(OUT_ESSENTIAL, "out_essential", "outbound, essential traffic")		\
	X(IN_ESP, "in_esp", "inbound ESP handed to the worker")				\
	X(OUT_PROTECT, "out_protect", "outbound handed to the worker (super-packets count once)")	\
	X(IN_VERIFIED, "in_verified",							\
	  "verified packets re-entered as received on the NIC (super-packets count once)") \
	X(IN_AH, "in_ah", "inbound AH handed to the worker")				\
	X(IN_UDP_ESP, "in_udp_esp", "inbound ESP in UDP handed to the worker")		\
	X(IN_FRAGMENT, "in_fragment", "inbound fragments of ESP or AH handed to the worker") \
	X(IN_PTB, "in_ptb", "packet-too-big messages about our SAs handed to the worker") \
	X(IN_OPTIONAL, "in_optional", "inbound, accepted in the clear: protection is optional")	\
	X(OUT_OPTIONAL, "out_optional", "outbound, sent in the clear: protection is optional")

enum pass_counter {
#define X(id, word, text) PASS_##id,
	PASS_COUNTERS(X)
#undef X
	PASS_COUNTER_COUNT
};
#define PASS_SLOTS 16

/* ---- addresses ----------------------------------------------------------------------------- */

/* Numeric value in host order, so that ranges compare; an IPv4 address is the low 32 bits of lo. */
struct addr128 {
	__u64 hi;
	__u64 lo;
};

/* Bytes as on the wire; an IPv4 address is in bytes 0-3, the rest are zero. */
union wire_addr {
	__u8 b[16];
	__be32 w[4];
};

/* ---- SPD ----------------------------------------------------------------------------------- */

#define SPD_RULE_DEFAULT 0xffffffffu	/* the verdict came from the defaults, not from a rule */

/*
 * Inner maps of `rule_counts`: packets that each rule decided. Rows of RULE_COUNT_SLOTS(rules)
 * elements: row 0 is what the policy before had counted of rules that stayed the same, row cpu + 1
 * is written by the hooks on that CPU alone. Without essential traffic, which asks no rule.
 */
struct rule_count {
	__u64 packets;		/* as the hook sees them: super-packets count once */
	__u64 bytes;		/* of the frames, as the hook sees them */
	__u64 used_ns;		/* CLOCK_MONOTONIC of the last one, coarse; 0: none */
	union {
		__u64 digest;		/* row 0: of the rule, for the next policy to know it again */
		__u64 used_jiffies;	/* other rows: at which used_ns was read */
	};
};
_Static_assert(sizeof(struct rule_count) == 32, "rule_count is ABI");

/*
 * Behind the slots of the rules: the defaults, and for the host (application 0) and each application
 * what an optional protection let pass in the clear.
 */
#define RULE_COUNT_EXTRA 2
#define RULE_COUNT_SLOTS(rules, apps) ((rules) + RULE_COUNT_EXTRA + (apps) + 1)
#define RULE_COUNT_OPTIONAL(rules, app) ((rules) + RULE_COUNT_EXTRA + (app))
#define RULE_COUNT_DEFAULT(rules, direction) ((rules) + (direction))	/* enum spd_direction */
#define RULE_COUNT_INDEX(slots, row, slot) ((row) * (slots) + (slot))
#define RULE_COUNT_CARRIED 0	/* the row of what was carried over */
#define RULE_COUNT_ROW(cpu) ((cpu) + 1)

enum attach_state {
	ATTACH_BLOCKED,		/* no policy yet: everything but ESSENTIAL_ALL is dropped */
	ATTACH_RUNNING,
	ATTACH_GUARD,		/* detached, links left: bypass works, protect means drop */
	ATTACH_CLOSED,		/* the policy needs socket hooks that are off: everything but what
				 * it calls essential is dropped; sockets are noted as ever */
};

/*
 * control.active: one word decides which policy every hook obeys. Bit 0 is the generation. Where the
 * other bits are not 0 they are the CLOCK_MONOTONIC ns until which that is so: a policy on trial. From
 * then on the other generation is in force, without anybody having to do anything.
 */
#define ACTIVE_DEADLINE(active) ((active) & ~1ull)
#define GENERATION_AT(active, now_ns) \
	(((active) & 1) ^ (ACTIVE_DEADLINE(active) && (now_ns) >= ACTIVE_DEADLINE(active)))

/* Map `control`, one element. `active` is the flip: one store changes the policy of every hook. */
struct control {
	__u32 abi_version;
	__u32 state;		/* enum attach_state */
	__u64 active;		/* GENERATION_AT() says which it is */
	__u8 nic_mac[6];	/* put back where a host tag stood */
	__u8 app_generations;	/* bit n: generation n has applications, needs the socket hooks */
	__u8 pad;
	__u32 udp_sas;		/* inbound SAs in UDP: without any, no UDP packet costs a look-up */
	__u32 last_serial;	/* the last that was given to a policy: none is given twice */
	__u64 events_until;	/* CLOCK_MONOTONIC ns until which drop events are wanted */
};
_Static_assert(sizeof(struct control) == 40, "control is ABI");

#define ATTACH_CGROUP_LEN 256

/* Map `attachment`, one element, written once by attach: what detach and status must know even when
 * the supervisor is gone. */
struct attachment {
	__u32 abi_version;
	__u32 ifindex;
	__u32 host_ifindex;
	__u32 mark_value, mark_mask;
	__u32 sa_slots;
	__u32 tc_handle[2], tc_priority[2];	/* clsact: egress of the NIC, ingress of the host port */
	__u8 xdp_generic;
	__u8 tcx;				/* tcx links; otherwise clsact filters */
	__u16 pad;
	__u64 netns_cookie;			/* of the NIC's network namespace: no other's sockets */
	__u64 digest_seed[2];			/* of app_digest.h; random */
	char cgroup[ATTACH_CGROUP_LEN];		/* where socket hooks go: a directory of cgroup2 */
};
_Static_assert(sizeof(struct attachment) == 328, "attachment is ABI");

/* Map `protections`: a pair's id. It stands for one immutable definition; see lib/protections.h. Each
 * generation has its own, so that going back to a policy goes back to its ids. */
/* As a generation: pairs that no policy in the map names, but that an SA has served (`had_sa`). One
 * without names stands for all others: more than PROTECT_MAX are not told apart. */
#define PROTECTION_HAD_SA 2

struct protection_key {
	__u32 generation;
	char peer[NAME_LEN];
	char protection[NAME_LEN];
};

struct protection_val {
	__u32 id;
	__u32 within_id;	/* of the pair whose SAs go around these; 0: none */
	__u64 digest;		/* of the definition (mode, suites, addresses); a new digest gets a new id */
};

/* ---- SAD ----------------------------------------------------------------------------------- */

/*
 * Map `sad`: inbound SAs by what RFC 4301 4.1 calls the destination-oriented look-up; and outbound
 * ones (SA_F_OUTBOUND), so that a packet-too-big message that quotes one is known.
 */
struct sad_key {
	union wire_addr dst;
	__be32 spi;
	__u8 proto;		/* IPPROTO_ESP, IPPROTO_AH */
	__u8 family;		/* enum ip_family, of the outer header */
	__be16 encap_port;	/* ESP in UDP (RFC 3948): the destination port; otherwise 0 */
};
_Static_assert(sizeof(struct sad_key) == 24, "sad_key is ABI");

#define SA_F_ESN	(1u << 0)
#define SA_F_TUNNEL	(1u << 1)
#define SA_F_ANY_SRC	(1u << 2)	/* the worker checks the source, after authentication */
#define SA_F_OUTBOUND	(1u << 3)	/* ours to send with: nothing that arrives belongs to it */
#define SA_F_NESTED	(1u << 4)	/* lies within another SA: never seen on the wire by itself */

struct sad_entry {
	union wire_addr src;	/* the only source that may use this SA */
	__u32 slot;		/* index into sa_state */
	__u32 protect_id;
	__u16 flags;		/* SA_F_* */
	__u8 sa_gen;		/* tells one user of the slot from the next */
	__u8 pad;
	__u32 replay_window;	/* packets; 0: anti-replay is off */
	__be16 encap_src_port;	/* ESP in UDP: the only source port; SA_F_ANY_SRC: not checked */
	__u16 pad2[3];
};
_Static_assert(sizeof(struct sad_entry) == 40, "sad_entry is ABI");

/*
 * Map `sad_peers`: between which addresses ESP or AH of ours is received, and how many SAs do so.
 * A fragment but the first shows no SPI: by this it is known as ours and goes to reassembly.
 */
struct sad_peer {
	union wire_addr src, dst;
	__u8 proto;		/* IPPROTO_ESP, IPPROTO_AH */
	__u8 family;		/* enum ip_family */
	__u16 pad;
};
_Static_assert(sizeof(struct sad_peer) == 36, "sad_peer is ABI");

/* Map `own_addresses`: a packet from outside with such a source is a forgery. */
struct own_address {
	union wire_addr addr;
	__u32 family;		/* enum ip_family */
};
_Static_assert(sizeof(struct own_address) == 20, "own_address is ABI");

/* Map `out_sa` (mmapable), index OUT_SA(protect_id, family of the packet to protect). slot 0 is
 * never used. The worker reads it for the outer SAs of bundles. */
struct out_sa {
	__u32 slot;		/* 0: no SA */
	__u8 sa_gen;
	__u8 pad[3];
};
#define OUT_SA(protect_id, family) ((protect_id) * FAMILY_COUNT + (family))

/* Map `sa_slots`, index slot: what the host port asks of a decrypted packet's SA. */
struct sa_slot {
	__u32 protect_id;
	__u8 sa_gen;
	__u8 used;
	__u8 inbound;
	__u8 pad;
};

/*
 * Map `sa_state` (mmapable), index slot: run-time state that must outlive a worker. The SA's
 * owning worker thread is the only writer, except of what is marked (supervisor). BPF reads
 * replay_top to drop stale packets before they cost a copy. Never holds key material.
 */
struct sa_state {
	__u64 seq_next;		/* outbound: next sequence number to use */
	__u64 seq_reserved;	/* outbound: numbers below this are reserved on disk (supervisor) */
	__u64 replay_top;	/* inbound: highest authenticated sequence number */
	__u64 packets;
	__u64 bytes;		/* of inner packets */
	__u64 used_ns;		/* CLOCK_MONOTONIC of the last packet; 0: never */
	__u64 icv_failed;
	__u64 replayed;
	__u64 lost;		/* inbound: numbers that left the window without having come */
	__u64 added_ns;		/* CLOCK_MONOTONIC of installation (supervisor) */
	__u64 next_hop;		/* outbound: SA_NEXT_HOP_KNOWN | MAC address, or 0 (supervisor) */
	__u64 path_mtu_ns;	/* outbound: CLOCK_MONOTONIC at which path_mtu was learnt */
	union wire_addr peer;	/* where the peer was last heard of, if that is followed */
	__be16 peer_port;	/* the same, UDP; 0: never elsewhere than configured */
	__u16 pad;
	__u32 path_mtu;		/* outbound: octets of the outer packet; 0: nothing learnt */
	__u64 replay_bitmap[REPLAY_WORDS];	/* RFC 6479 */
	__u64 replay_first;	/* inbound: the number that came first; none before it is lost */
	__u8 link[22];		/* outbound in UDP: Ethernet and VLAN headers of the last packet */
	__u16 link_len;		/* octets of link; 0: nothing was sent yet */
	__u64 pad2[4];
};
_Static_assert(sizeof(struct sa_state) == 704, "sa_state is ABI and fills cache lines");

/* The MAC address is in the lower 48 bits, its first octet highest. */
#define SA_NEXT_HOP_KNOWN (1ull << 63)

/* Map `worker_stats` (mmapable), one element; survives worker restarts. Only the worker writes. */
struct worker_stats {
	__u64 drops[DROP_SLOTS];	/* by enum drop_reason */
	__u64 wire_rx, wire_tx;		/* ESP packets */
	__u64 host_rx, host_tx;		/* frames read from and written to the host port */
	__u64 host_rx_segments;		/* packets those reads became */
	__u64 host_tx_coalesced;	/* packets that left merged into another frame */
	__u64 polls;			/* times the worker went to sleep */
	__u64 reassembled_in;		/* ESP and AH packets put together from fragments */
	__u64 reassembled_out;		/* packets of this host's put together before protection */
	__u64 fragmented_out;		/* packets sent in fragments, cut after or before protection */
	__u64 ptb_accepted;		/* path MTUs learnt from packet-too-big messages */
	__u64 keepalives;		/* NAT keep-alives sent (RFC 3948 2.3) */
	__u64 busy_polls;		/* times it had nothing to do, and work came before it slept */
	__u64 busy_poll_ns;		/* for how long it looked again and again, ns */
	__u64 pad[2];
};

/* Map `had_sa`, index protect id: not 0 once an SA served it. An optional protection is mandatory
 * from then on, whether that SA lives or not, until the administrator flushes SAs. A pair that a
 * policy leaves out is remembered by its names (PROTECTION_HAD_SA) for when it comes back; one that
 * is called otherwise is another. Written by the supervisor and, for ids that it gives out, by
 * policy apply; read by the hooks. */

/* ---- applications -------------------------------------------------------------------------- */

/*
 * Who made a socket, as digests (app_digest.h): all that an application's "match" can ask for. Noted
 * once, with the socket; what application that is follows from it and from the policy in force
 * (spd_app.h), so that a new policy knows old sockets.
 */
struct app_identity {
	__u64 cgroup_id;	/* of the kernel; never used again for another */
	__u64 cgroup[APP_CGROUP_LEVELS];	/* path down to level i + 1; 0: not that deep */
	__u64 unit;		/* name of the systemd unit, 0: none */
	__u64 exe;		/* file system and path within it; 0: unknown */
	__u32 uid, gid;		/* real ones, as the initial user namespace has them */
	__u32 unit_level;	/* of `unit`, from 1 */
	__u32 pad;
};
_Static_assert(sizeof(struct app_identity) == 104, "app_identity is ABI");

/* An answer remembered: the application (0: none) by the policy of that serial. One word, so that it is
 * replaced at once. */
#define APP_RESOLVED(serial, app) ((__u64)(serial) << 32 | (app))
#define APP_RESOLVED_SERIAL(resolved) ((__u32)((resolved) >> 32))
#define APP_RESOLVED_APP(resolved) ((__u32)(resolved))

/* Map `app_endpoints`: a bound local socket address. An address of zeros is any. */
struct app_endpoint_key {
	union wire_addr local;
	__be16 port;		/* 0 with protocols that have none */
	__u8 proto;
	__u8 family;		/* enum ip_family */
};
_Static_assert(sizeof(struct app_endpoint_key) == 20, "app_endpoint_key is ABI");

/* Maps `app_flows` and `app_closed`: a connection. Map `app_exchanges`: what has none; of ICMP echo the
 * identifier is the local port. */
struct app_flow_key {
	union wire_addr local, remote;
	__be16 local_port, remote_port;
	__u8 proto;
	__u8 family;		/* enum ip_family */
	__u16 pad;
};
_Static_assert(sizeof(struct app_flow_key) == 40, "app_flow_key is ABI");

#define APP_ENDPOINT_KEYS 2	/* of one socket: IPv6 ones may serve IPv4 as well */

#define APP_SOCKET_SERVER (1u << 0)	/* bound to a port of its choice: expects to be spoken to */
#define APP_SOCKET_ASKS	  (1u << 1)	/* bind() to such a port has begun, and may fail */
#define APP_SOCKET_CLOSED (1u << 2)	/* the last descriptor is: nothing is noted of it any more */

/* Socket storage `app_sockets`. */
struct app_socket {
	struct app_identity who;
	__u64 resolved;		/* APP_RESOLVED() */
	__u64 noted;		/* cookie of the socket whose endpoints or flow were noted: a socket that
				 * was accepted has a copy of its listener's storage, but not this cookie */
	struct app_endpoint_key endpoints[APP_ENDPOINT_KEYS];	/* family FAMILY_COUNT: none */
	struct app_flow_key flow;	/* family FAMILY_COUNT: none */
	__u32 flags;		/* APP_SOCKET_* */
	__u32 pad;
};

/* Where a datagram socket sent in the clear because protection was optional: from there, and from
 * nowhere else, it may be answered in the clear. Socket storage `app_asked`. */
#define APP_ASKED 32
struct app_asked {
	struct {
		union wire_addr addr;
		__be16 port;
		__u16 family;
		__u32 pad;
		__u64 ns;	/* CLOCK_MONOTONIC; 0: empty */
	} to[APP_ASKED];
	__u32 next;		/* the oldest, which gives way */
	struct bpf_spin_lock lock;	/* of all of it: several CPUs may send at once */
};
#define APP_ASKED_NS 60000000000ull

/* Map `app_usage`: a name's digest, changed by this, is the row that counts endpoints. */
#define APP_USAGE_ENDPOINTS 0x9e3779b97f4a7c15ull

struct app_flow {
	struct app_identity who;
	__u64 resolved;
	__u64 cookie;		/* of the socket */
	__u64 charged;		/* spd_app.name_digest of the application whose flow it counts as */
	__u64 until_ns;		/* app_closed, app_exchanges: CLOCK_MONOTONIC; otherwise 0 */
	__u32 tracked;		/* the kernel tells when the connection is closed (sock_ops) */
	__u32 pad;
};

/* How long after its end packets of a connection still belong to it. The socket ends where FIN_WAIT2 does
 * not hold one (net.ipv4.tcp_fin_timeout, 60 s); TIME_WAIT follows (60 s), each late FIN begins it anew. */
#define APP_CLOSED_NS 240000000000ull

/* ---- host tag ------------------------------------------------------------------------------ */

/*
 * Travels between the tc hooks and the worker in the octets of the NIC's own MAC address: the source
 * address of an outbound frame, the destination address of an inbound one. That address is known
 * and is put back on the other side. The magic octets have the group and the local bit set, which
 * no station's own address has.
 */
struct host_tag {
	__u8 magic;
	__u8 sa_gen;
	__u8 slot[4];		/* big endian: the tag has no alignment */
};
_Static_assert(sizeof(struct host_tag) == 6, "host_tag is a MAC address");
#define HOST_TAG_SA	0xa7	/* protect with / verified by this SA */
#define HOST_TAG_LOCAL_ICMP	0xab	/* inbound: an ICMP error of the worker's own for a local sender */

/* ---- events -------------------------------------------------------------------------------- */

/* Ring buffer `events`: one per dropped packet while somebody watches, rate limited. */
struct drop_event {
	__u64 ns;		/* CLOCK_MONOTONIC */
	union wire_addr src, dst;
	__be32 spi;		/* ESP and AH only */
	__be16 src_port, dst_port;
	__u32 rule;		/* SPD_RULE_DEFAULT if none */
	__u32 len;
	__be16 ethertype;
	__u8 family;		/* enum ip_family; only for IPv4 and IPv6 ethertypes */
	__u8 proto;
	__u8 reason;		/* enum drop_reason */
	__u8 direction;		/* enum spd_direction */
	__u16 pad;
};
_Static_assert(sizeof(struct drop_event) == 64, "drop_event is ABI");

/* ---- explanations -------------------------------------------------------------------------- */

/* Map `verdicts`: what a hook read in the last packet and made of it. Only where the programs were
 * loaded to explain, never by those that are attached. */
struct packet_verdict {
	union wire_addr src, dst;
	__be32 spi;		/* ESP and AH only */
	__be16 src_port, dst_port;
	__be16 ethertype;
	__u8 family;		/* enum ip_family; valid if is_ip */
	__u8 is_ip;
	__u8 proto;
	__u8 icmp_type, icmp_code;
	__u8 fragment;		/* 0: none, 1: the first, 2: a later one */
	__u8 dscp;
	__u8 pad;
	__u16 vlan;		/* 0: untagged */
	__u32 rule;		/* SPD_RULE_DEFAULT if none; this and the next if policy was asked */
	__u32 protect_id;
	__u32 serial;		/* of the generation that was asked */
	__u32 slot;		/* of the SA, if one was found; 0: none */
	__u8 asked;		/* the SPD was asked */
	__u8 action;		/* what it said, enum spd_action; nothing of it if blocked */
	__u8 essential;
	__u8 reason;		/* enum drop_reason */
	__u32 app;		/* in: whose packet it shall be taken for (APP_ASK_MAPS: who the maps say);
				 * out: the application, 0: none */
	__u8 level;		/* enum spd_level */
	__u8 pad2[3];
};
_Static_assert(sizeof(struct packet_verdict) == 80, "packet_verdict is ABI");
#define APP_ASK_MAPS 0xffffffffu

#endif /* IPSECBPF_ABI_H */
