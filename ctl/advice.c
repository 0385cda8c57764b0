// SPDX-License-Identifier: BSD-2-Clause
#include "advice.h"

#define OK(id, text) [DROP_##id] = { false, text }
#define BAD(id, text) [DROP_##id] = { true, text }

static const struct advice advices[DROP_REASON_COUNT] = {
	OK(NONE, "nothing"),
	OK(MALFORMED,
	    "nothing, unless it keeps counting: then capture on the wire to find the sender"),
	BAD(NO_POLICY, "ipsecbpf policy apply IFNAME FILE"),
	BAD(GUARD, "ipsecbpf attach IFNAME, or ipsecbpf detach IFNAME --open to go unprotected"),
	OK(POLICY_DISCARD,
	    "nothing, if the policy means it; ipsecbpf monitor IFNAME names the rule"),
	OK(NON_IP, "nothing, or \"non_ip\": \"bypass\" in the policy's defaults"),
	BAD(CLEAR_TEXT,
	    "see that the peer protects this traffic too: ipsecbpf sa list and policy show there"),
	BAD(NO_SA_OUT, "ipsecbpf sa apply IFNAME FILE with an SA for this peer and protection"),
	BAD(NO_SA_IN, "compare the SPIs of ipsecbpf sa list on both hosts"),
	BAD(SA_SOURCE,
	    "compare the addresses of ipsecbpf sa list on both hosts; look for NAT in between"),
	OK(REPLAY_OLD,
	    "nothing for a few; with many, a larger replay_window, or look for an attacker"),
	OK(REPLAY_DUP, "nothing for a few; with many, look for a loop or an attacker"),
	BAD(ICV, "compare the keys of ipsecbpf sa list --stats on both hosts"),
	OK(ESP_FRAGMENT, "nothing: no sound sender makes fragments of fragments"),
	BAD(FRAGMENT_TRANSPORT, "report it as a bug: fragments are put together before"),
	BAD(WIRE_PORT, "ipsecbpf status IFNAME: the worker must be running"),
	BAD(HOST_TAG, "keep other programs off the host port"),
	OK(STALE_SA, "nothing: packets in flight while SAs changed"),
	BAD(SEQ_EXHAUSTED, "new keys: ipsecbpf sa genkey, then sa apply on both hosts"),
	BAD(SEQ_UNRESERVED, "see that /var/lib/ipsecbpf is writable and its file system has room"),
	BAD(SA_SELECTOR,
	    "see that the policies of both hosts name the same addresses and protocols"),
	BAD(INNER_POLICY, "see that the inbound rules here match the outbound rules of the peer"),
	BAD(PADDING, "report it to whoever makes the peer's IPsec: RFC 4303 2.4 fixes the padding"),
	BAD(TOO_BIG,
	    "see that ICMP \"fragmentation needed\" reaches the senders, or lower their MTU"),
	BAD(NO_BUFFER, "spread the load over more NIC queues, or use a cheaper suite"),
	BAD(UNSUPPORTED,
	    "bypass this traffic in the policy, or stop the application from sending it"),
	BAD(HOST_PORT, "see that the host port is up: ip link show"),
	OK(DUMMY_NEXT_HEADER, "nothing"),
	BAD(BUNDLE, "see that the protections of both hosts lie within one another alike"),
	BAD(LIFETIME, "new keys: ipsecbpf sa genkey, then sa rotate on both hosts"),
	BAD(REASSEMBLY, "nothing for a few; with many, look for an attacker"),
	BAD(REASSEMBLY_FULL, "nothing for a few; with many, look for a flood of fragments"),
	OK(REASSEMBLY_TIME, "nothing for a few; with many, look for loss on the path"),
	OK(FRAGMENT_POLICY, "\"fragments\": \"reassemble\" in the protection, if they are wanted"),
	OK(OWN_SOURCE, "nothing; with many, look for a loop or a forger: ipsecbpf monitor IFNAME"),
	OK(ECN, "nothing; with many, look for a router that marks traffic without ECN"),
	OK(PTB_REFUSED, "nothing for a few; with many, look for a forger of ICMP messages"),
	BAD(UDP_ENCAP, "capture on the wire to see who sends it"),
	OK(FRAGMENT_DUP, "nothing for a few; with many, look for a loop"),
	BAD(UNVERIFIED,
	    "see that the peer protects this traffic too; ipsecbpf app sockets IFNAME shows whose it is"),
	OK(UNASKED, "nothing: nobody who was not asked may answer in the clear"),
	OK(OPTIONAL_RATE,
	    "nothing for a few; with many, an SA with the peer, or a larger \"optional_rate\""),
	BAD(APP_FULL, "ipsecbpf app list IFNAME: a larger \"max_flows\", if the application means it"),
	BAD(INTERNAL, "report it as a bug, with the output of ipsecbpf -j stats"),
};

struct advice drop_advice(enum drop_reason reason)
{
	if (reason < DROP_REASON_COUNT && advices[reason].next)
		return advices[reason];
	return (struct advice){ true, "ipsecbpf monitor IFNAME shows the packets" };
}
