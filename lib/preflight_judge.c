// SPDX-License-Identifier: BSD-2-Clause
/* Preflight judges process, kernel, system, crypto and network namespace, from the facts alone. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "paths.h"
#include "preflight.h"
#include "wire_port.h"

#define OK	PREFLIGHT_OK
#define WARNING PREFLIGHT_WARNING
#define FAILURE PREFLIGHT_FAILURE

#define FIX_KERNEL "apt-get install linux-image-amd64" /* a stock kernel of Debian's has it all */

#define MIB (1024 * 1024)

/* ---- process --------------------------------------------------------------------------------- */

/* Appends a word to a list, which is cut off if it is full. */
static void add_word(char *list, size_t size, const char *word)
{
	size_t have = strlen(list);

	snprintf(list + have, size - have, "%s%s", have ? ", " : "", word);
}

void preflight_judge_capabilities(const struct preflight_facts *facts,
				  struct preflight_finding *finding)
{
	char missing[200] = "";

#define X(name)                          \
	if (!PREFLIGHT_HAS(facts, name)) \
		add_word(missing, sizeof(missing), "CAP_" #name);
	PREFLIGHT_CAPABILITIES(X)
#undef X
	if (!facts->process.root) {
		preflight_found(finding, FAILURE, "not root: what only root may ask is left out");
		preflight_fix(finding, "sudo ipsecbpf preflight %s", facts->shell_name);
	} else if (missing[0]) {
		preflight_found(finding, FAILURE, "taken away by a container or service: %s",
				missing);
		preflight_fix(finding, "systemd-run --pty ipsecbpf preflight %s", facts->shell_name);
	} else {
		preflight_found(finding, OK, "root, with all that are needed");
	}
}

void preflight_judge_memlock(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const struct preflight_process *process = &facts->process;
	uint32_t frame = facts->nic.nic.mtu > wire_port_mtu_max(WIRE_FRAME_SMALL)
				 ? WIRE_FRAME_LARGE
				 : WIRE_FRAME_SMALL;
	uint64_t need =
		(uint64_t)WIRE_FRAMES * frame * (facts->nic.nic.queues ? facts->nic.nic.queues : 1);

	if (!facts->kernel.asked)
		return;
	if (process->bpf_by_cgroup && PREFLIGHT_HAS(facts, IPC_LOCK)) {
		preflight_found(finding, OK, "no limit applies; the queues need %" PRIu64 " MiB",
				need / MIB);
		return;
	}
	if (!process->bpf_by_cgroup)
		need += 256 * MIB; /* maps of a large policy */
	if (process->memlock >= need) {
		preflight_found(finding, OK, "the limit holds the %" PRIu64 " MiB needed",
				need / MIB);
		return;
	}
	preflight_found(finding, FAILURE, "limited to %" PRIu64 " KiB; %" PRIu64 " MiB are needed",
			process->memlock / 1024, need / MIB);
	/* The hard limit stays where it is high enough: raising it takes CAP_SYS_RESOURCE. */
	preflight_fix(finding, "prlimit --pid $$ --memlock=%" PRIu64 "%s", need,
		      process->memlock_hard >= need ? ":" : "");
}

/* ---- kernel ---------------------------------------------------------------------------------- */

static void name_missing(uint64_t have, const char *const *names, size_t count, char *list,
			 size_t size)
{
	for (size_t i = 0; i < count; i++)
		if (!(have >> i & 1))
			add_word(list, size, names[i]);
}

void preflight_judge_bpf_features(const struct preflight_facts *facts,
				  struct preflight_finding *finding)
{
	static const char *const names[] = {
#define X(name, text) text,
		PREFLIGHT_FEATURES(X)
#undef X
	};
	char missing[256] = "";

	if (!facts->kernel.asked)
		return;
	name_missing(facts->kernel.features, names, FEATURE_COUNT, missing, sizeof(missing));
	if (!missing[0]) {
		preflight_found(finding, OK, "all %d that the packet path needs", FEATURE_COUNT);
		return;
	}
	preflight_found(finding, FAILURE, "this kernel is without %s", missing);
	preflight_fix(finding, FIX_KERNEL);
}

void preflight_judge_inner_maps(const struct preflight_facts *facts,
				struct preflight_finding *finding)
{
	if (!facts->kernel.asked)
		return;
	if (facts->kernel.inner_maps) {
		preflight_found(finding, OK, "arrays of any length");
		return;
	}
	preflight_found(finding, FAILURE,
			"no arrays of different lengths: no policy can be loaded");
	preflight_fix(finding, FIX_KERNEL);
}

void preflight_judge_application_policy(const struct preflight_facts *facts,
					struct preflight_finding *finding)
{
	static const char *const names[] = {
#define X(name, text) text,
		PREFLIGHT_APP_FEATURES(X)
#undef X
	};
	char missing[256] = "";

	if (!facts->kernel.programs_asked) /* attach does not ask for them */
		return;
	name_missing(facts->kernel.app_features, names, APP_FEATURE_COUNT, missing,
		     sizeof(missing));
	if (!missing[0]) {
		preflight_found(finding, OK, "all that policy for applications needs");
		return;
	}
	preflight_found(finding, WARNING, "no policy for applications without %s", missing);
	preflight_fix(finding, FIX_KERNEL);
}

void preflight_judge_af_xdp(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	int err = facts->kernel.af_xdp;

	if (err > 0)
		return;
	if (!err) {
		preflight_found(finding, OK, "sockets can be opened");
		return;
	}
	preflight_found(finding, FAILURE, "no AF_XDP sockets: %s", strerror(-err));
	preflight_fix(finding, FIX_KERNEL);
}

void preflight_judge_tc_hook(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	if (!facts->kernel.asked)
		return;
	if (facts->kernel.tcx) {
		preflight_found(finding, OK, "tcx");
	} else if (facts->kernel.clsact) {
		preflight_found(finding, OK, "no tcx in this kernel: clsact");
	} else {
		preflight_found(finding, FAILURE, "neither tcx nor clsact");
		preflight_fix(finding, "modprobe -a sch_ingress cls_bpf");
	}
}

void preflight_judge_btf(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	if (!facts->kernel.asked)
		return;
	if (facts->kernel.btf) {
		preflight_found(finding, OK, "the kernel's types are there");
		return;
	}
	preflight_found(finding, WARNING, "no /sys/kernel/btf/vmlinux: no policy for applications");
	preflight_fix(finding, FIX_KERNEL);
}

void preflight_judge_jit(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	if (!facts->kernel.asked)
		return;
	if (facts->kernel.jit) {
		preflight_found(finding, OK, "programs are compiled");
		return;
	}
	preflight_found(finding, WARNING, "programs are interpreted: several times slower");
	preflight_fix(finding, "sysctl -w net.core.bpf_jit_enable=1");
}

void preflight_judge_programs(const struct preflight_facts *facts,
			      struct preflight_finding *finding)
{
	if (!facts->kernel.programs_asked)
		return;
	if (!facts->kernel.programs) {
		preflight_found(finding, OK, "the verifier takes all of them");
		return;
	}
	preflight_found(finding, FAILURE, "%s", facts->kernel.programs_cause);
	preflight_fix(finding, FIX_KERNEL);
}

/* ---- system ---------------------------------------------------------------------------------- */

void preflight_judge_bpffs(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	int err = facts->system.bpffs;

	if (!err) {
		preflight_found(finding, OK, "on " BPFFS ", writable");
	} else if (err == -ENOENT) {
		preflight_found(finding, FAILURE, "not mounted on " BPFFS);
		preflight_fix(finding, "mkdir -p " BPFFS " && mount -t bpf bpf " BPFFS);
	} else if (err == -EROFS) {
		preflight_found(finding, FAILURE, "on " BPFFS ", but read-only");
		preflight_fix(finding, "mount -o remount,rw " BPFFS);
	} else {
		preflight_found(finding, FAILURE, BPFFS ": %s", strerror(-err));
	}
}

void preflight_judge_cgroup2(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const struct preflight_system *system = &facts->system;

	if (system->cgroup2[0] && !system->cgroup2_hidden) {
		preflight_found(finding, OK, "on %s", system->cgroup2);
		return;
	}
	if (system->cgroup2[0])
		preflight_found(finding, WARNING,
				"%s is hidden by another mount: no policy for applications",
				system->cgroup2);
	else
		preflight_found(finding, WARNING, "not mounted here: no policy for applications");
	preflight_fix(finding, "mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2");
}

void preflight_judge_tun(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	int err = facts->system.tun;

	if (err) {
		preflight_found(finding, FAILURE, "cannot open /dev/net/tun: %s", strerror(-err));
		if (err == -ENODEV)
			preflight_fix(finding, "modprobe tun");
		else if (err == -ENOENT)
			preflight_fix(finding,
				      "mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200");
		else if (err == -EACCES)
			preflight_fix(finding, "chmod 666 /dev/net/tun");
	} else if (!facts->system.tun_vnet_header) {
		preflight_found(finding, FAILURE, "/dev/net/tun has no vnet headers");
		preflight_fix(finding, FIX_KERNEL);
	} else {
		preflight_found(finding, OK, "/dev/net/tun, with vnet headers");
	}
}

/* Others than root may not write there, which is as it should be. */
static void judge_directory(const struct preflight_facts *facts,
			    const struct preflight_directory *directory, const char *wanted,
			    struct preflight_finding *finding)
{
	if (!facts->process.root)
		return;
	if (!directory->err) {
		preflight_found(finding, OK,
				directory->exists ? "%s is writable" : "%s can be made", wanted);
		return;
	}
	preflight_found(finding, FAILURE, "%s: %s", directory->path, strerror(-directory->err));
	if (directory->err == -EROFS)
		preflight_fix(finding, "mount -o remount,rw $(findmnt -no TARGET -T %s)",
			      directory->path);
	else if (directory->err == -EACCES)
		preflight_fix(finding, "chown root %s && chmod u+rwx %s", directory->path,
			      directory->path);
}

void preflight_judge_state_dir(const struct preflight_facts *facts,
			       struct preflight_finding *finding)
{
	judge_directory(facts, &facts->system.state, SEQ_DIR, finding);
}

void preflight_judge_run_dir(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	judge_directory(facts, &facts->system.run, RUN_ROOT, finding);
}

/* ---- crypto ---------------------------------------------------------------------------------- */

void preflight_judge_cpu_aes(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	if (facts->system.aes) {
		preflight_found(finding, OK, "AES and carry-less multiplication");
		return;
	}
	preflight_found(finding, WARNING, "no AES instructions: AES is slow; ChaCha20 is not");
	preflight_fix(finding, "ipsecbpf sa genkey --suite chacha20poly1305 --src A --dst B");
}

void preflight_judge_engine(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	if (facts->system.engine[0]) {
		preflight_found(finding, OK, "%s (of %s)", facts->system.engine,
				facts->system.engines);
		return;
	}
	preflight_found(finding, FAILURE, "none works");
	preflight_fix(finding, "apt-get install --reinstall libssl3");
}

/* ---- the network namespace ------------------------------------------------------------------- */

void preflight_judge_rp_filter(const struct preflight_facts *facts,
			       struct preflight_finding *finding)
{
	const struct preflight_network *network = &facts->network;
	int effective = network->rp_filter_all > network->rp_filter ? network->rp_filter_all
								    : network->rp_filter;

	if (network->rp_filter < 0)
		return;
	if (effective != 1) {
		preflight_found(finding, OK, effective ? "loose" : "off");
		return;
	}
	preflight_found(finding, WARNING,
			"strict: drops out of tunnels what is not routed back over %s",
			facts->ifname);
	preflight_fix(finding, "sysctl -w net/ipv4/conf/%s/rp_filter=2", facts->shell_name);
}

void preflight_judge_accept_local(const struct preflight_facts *facts,
				  struct preflight_finding *finding)
{
	const struct preflight_network *network = &facts->network;

	if (network->accept_local < 0)
		return;
	if (network->accept_local <= 0 && network->accept_local_all <= 0) {
		preflight_found(finding, OK, "off");
		return;
	}
	preflight_found(finding, WARNING,
			"on: packets that come in as from this host itself are taken");
	preflight_fix(finding,
		      "sysctl -w net/ipv4/conf/all/accept_local=0 net/ipv4/conf/%s/accept_local=0",
		      facts->shell_name);
}

/* Would the rule's answer be another one for a packet that bears our mark? */
static bool rule_sees(const struct net_mark_rule *rule, uint32_t value, uint32_t mask)
{
	return rule->mask & mask && !((rule->value ^ value) & rule->mask & mask);
}

/* Eight neighbouring bits that no rule looks at; 0: there are none. */
static uint32_t free_bits(const struct net_others *others)
{
	for (uint32_t mask = 0xff000000u; mask >= 0xffu; mask >>= 8) {
		bool taken = false;

		for (uint32_t i = 0; i < others->rule_count; i++)
			taken |=
				others->rules[i].mask != UINT32_MAX && others->rules[i].mask & mask;
		if (!taken)
			return mask;
	}
	return 0;
}

void preflight_judge_mark(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	uint32_t value = facts->wanted.mark_value, mask = facts->wanted.mark_mask, bits;
	const struct net_others *others = &facts->network.others;

	if (facts->network.others_err)
		return;
	for (uint32_t i = 0; i < others->rule_count; i++) {
		const struct net_mark_rule *rule = &others->rules[i];

		if (!rule_sees(rule, value, mask))
			continue;
		preflight_found(
			finding, WARNING,
			"ip %srule %u (fwmark 0x%x/0x%x) catches verified packets: 0x%x/0x%x",
			rule->ipv6 ? "-6 " : "", rule->priority, rule->value, rule->mask, value,
			mask);
		bits = free_bits(others);
		if (bits)
			preflight_fix(finding, "ipsecbpf attach %s --mark 0x%x/0x%x", facts->shell_name,
				      0xe5e5e5e5u & bits, bits);
		return;
	}
	preflight_found(finding, OK, "0x%x/0x%x; no routing rule catches it", value, mask);
}

void preflight_judge_others(const struct preflight_facts *facts, struct preflight_finding *finding)
{
	const struct net_others *others = &facts->network.others;

	if (facts->network.others_err)
		return;
	if (others->xfrm_policies) {
		preflight_found(finding, WARNING,
				"kernel IPsec has %u policies: it protects, or drops, before we do",
				others->xfrm_policies);
		preflight_fix(finding, "ip xfrm policy flush");
	} else if (others->wireguard_count) {
		preflight_found(finding, OK, "%s%s: WireGuard is UDP to policy; it needs a rule",
				others->wireguard, others->wireguard_count > 1 ? " and more" : "");
	} else {
		preflight_found(finding, OK, "none; the kernel has %s",
				others->xfrm ? "IPsec, without policies" : "no IPsec of its own");
	}
}
