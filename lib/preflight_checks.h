/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of preflight's checks: ids (JSON keys, never renamed), groups, titles, and what each
 * asks. The judges, the output, the manual page and the tests derive from it.
 *
 * Included by: preflight.h, and the command line for its manual page.
 */
#ifndef IPSECBPF_PREFLIGHT_CHECKS_H
#define IPSECBPF_PREFLIGHT_CHECKS_H

/* X(group), in the order of showing */
#define PREFLIGHT_GROUPS(X)                                                                 \
	X(process) X(kernel) X(system) X(crypto) X(interface) X(network)

/* X(id, group, title, what it asks); checks of a group stand together. */
#define PREFLIGHT_CHECKS(X)                                                                 \
	X(capabilities, process, "capabilities",                                            \
	  "Is this root, with every capability that attach, supervisor and worker "         \
	  "start with?")                                                                    \
	X(memlock, process, "locked memory",                                                \
	  "May the rings of all queues, and on old kernels the maps, be locked in "         \
	  "memory?")                                                                        \
	X(bpf_features, kernel, "BPF features",                                             \
	  "Program types, map types and helpers that the packet path needs, each "          \
	  "tried")                                                                          \
	X(inner_maps, kernel, "maps in maps",                                               \
	  "Does a map of maps take arrays of different lengths? Policies are such "         \
	  "arrays")                                                                         \
	X(application_policy, kernel, "socket hooks",                                       \
	  "What policy for applications needs: socket storage, cgroup and socket "          \
	  "hooks")                                                                          \
	X(af_xdp, kernel, "AF_XDP", "Can AF_XDP sockets be opened?")                        \
	X(tc_hook, kernel, "tc hook", "tcx, or else the clsact qdisc")                      \
	X(btf, kernel, "BTF",                                                               \
	  "Does the kernel describe its types, for programs that read them?")               \
	X(jit, kernel, "BPF JIT", "Are BPF programs compiled to machine code?")             \
	X(programs, kernel, "programs",                                                     \
	  "Does the verifier take our programs? They are loaded, not attached")             \
	X(bpffs, system, "bpffs",                                                           \
	  "Is a BPF file system mounted on /sys/fs/bpf, and writable?")                     \
	X(cgroup2, system, "cgroup2",                                                       \
	  "Is cgroup2 mounted, where, and not hidden by another mount?")                    \
	X(tun, system, "host port", "Does /dev/net/tun open, with vnet headers?")           \
	X(state_dir, system, "state directory",                                             \
	  "Can sequence numbers and policies be recorded?")                                 \
	X(run_dir, system, "run directory", "Can control sockets be made?")                 \
	X(cpu_aes, crypto, "CPU", "Has the CPU AES and carry-less multiplication?")         \
	X(engine, crypto, "crypto engine",                                                  \
	  "Which engine encrypts, of those that work here")                                 \
	X(interface, interface, "interface",                                                \
	  "Is it there, Ethernet, up, and nobody's port?")                                  \
	X(attachment, interface, "attachment",                                              \
	  "What is left of, or running from, an earlier attach")                            \
	X(applications, interface, "applications",                                          \
	  "Do sockets get packets from this interface itself, and is no other attached? "   \
	  "Policy for applications takes what comes otherwise for unverified")              \
	X(mtu, interface, "MTU", "Within what AF_XDP frames and the driver's XDP take?")    \
	X(esp_room, interface, "room for ESP",                                              \
	  "Do 1280 octets fit into a tunnel, as IPv6 demands?")                             \
	X(queues, interface, "queues",                                                      \
	  "Not more than are served or CPUs there are, each to receive and to send, "       \
	  "and XDP leaves some to the driver")                                              \
	X(rss, interface, "RSS", "Does the NIC spread packets over all of its queues?")     \
	X(xdp_mode, interface, "XDP mode", "Has the driver native XDP?")                    \
	X(xdp_hook, interface, "XDP hook",                                                  \
	  "Which program is attached there, in which mode")                                 \
	X(zero_copy, interface, "zero-copy",                                                \
	  "Has the driver zero-copy AF_XDP? Never more than a note")                        \
	X(lro, interface, "LRO", "Large receive offload, which XDP refuses")                \
	X(gro_hw, interface, "GRO in hardware",                                             \
	  "Hardware GRO, which XDP refuses or turns off")                                   \
	X(rx_vlan, interface, "VLAN offload",                                               \
	  "Does the NIC strip VLAN tags, and so hide them from policy?")                    \
	X(gso, interface, "GSO",                                                            \
	  "Does TCP hand over super-packets? Encrypting them at once is faster")            \
	X(tc_order, interface, "tc order",                                                  \
	  "Who decides about packets before us on egress?")                                 \
	X(session, interface, "ssh session", "Does the session you are in arrive here?")    \
	X(rp_filter, network, "rp_filter",                                                  \
	  "Reverse path filter: strict drops packets out of tunnels")                       \
	X(accept_local, network, "accept_local",                                            \
	  "Are packets with this host's own source address taken?")                         \
	X(mark, network, "packet mark",                                                     \
	  "Does a routing rule look at the bits that say verified?")                        \
	X(others, network, "other tunnels", "The kernel's own IPsec and WireGuard")

enum preflight_group {
#define X(name) PREFLIGHT_GROUP_##name,
	PREFLIGHT_GROUPS(X)
#undef X
	PREFLIGHT_GROUP_COUNT
};

enum preflight_check {
#define X(id, group, title, asks) PREFLIGHT_##id,
	PREFLIGHT_CHECKS(X)
#undef X
	PREFLIGHT_CHECK_COUNT
};

struct preflight_check_text {
	const char *id, *group, *title, *asks;
};
/* Of a check below PREFLIGHT_CHECK_COUNT. */
const struct preflight_check_text *preflight_check_text(enum preflight_check check);

#endif /* IPSECBPF_PREFLIGHT_CHECKS_H */
