// SPDX-License-Identifier: BSD-2-Clause
/*
 * Preflight's judges, with facts of machines that are not at hand: each check is seen well, and
 * seen not well, with the result and the command that mends it. What the facts are made of is
 * tested in selftests/net/test_preflight.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/preflight.h"

#define BIT(n) (1ull << (n))

/* A host on which all is well. */
static struct preflight_facts good_facts(void)
{
	struct preflight_facts facts = {
		.wanted = { .mark_value = IPSECBPF_MARK_VALUE, .mark_mask = IPSECBPF_MARK_MASK },
		.process = { .root = true, .capabilities = UINT64_MAX, .memlock = 8192 * 1024,
			     .memlock_hard = 65536 * 1024,
			     .bpf_by_cgroup = true },
		.kernel = { .asked = true, .features = UINT64_MAX, .app_features = UINT64_MAX,
			    .inner_maps = true, .btf = true, .jit = true, .tcx = true,
			    .programs_asked = true },
		.system = { .cgroup2 = "/sys/fs/cgroup", .tun_vnet_header = true, .aes = true,
			    .engine = "ipsec-mb", .engines = "ipsec-mb, openssl",
			    .state = { .path = "/var/lib" }, .run = { .path = "/run" } },
		.nic = { .nic = { .ifindex = 2, .mtu = 1500, .queues = 4, .ethernet = true,
				  .up = true, .driver = "ice" },
			 .cpus = 4,
			 .channels = { .combined = 4, .max_combined = 64 },
			 .rss_queues = 4,
			 .xdp_features = NIC_XDP_BASIC | NIC_XDP_REDIRECT | NIC_XDP_XSK_ZEROCOPY,
			 .xdp = { .mode = "" },
			 .tc = { .tcx = true },
			 .attachment = ATTACHMENT_NONE,
			 .session_asked = true },
		.network = { .others = { .xfrm = true } },
	};

	preflight_set_name(&facts, "eth0");
	facts.nic.offloads.on[NIC_OFFLOAD_GSO] = true;
	return facts;
}

/* One thing that is not well, what is said of it, and how it is mended. */
struct ill {
	enum preflight_check check;
	enum preflight_result result;
	const char *found;	/* a part of it */
	const char *fix;	/* the whole; "": there is none */
	void (*spoil)(struct preflight_facts *facts);
};

#define SPOIL(name, ...)                                                                    \
	static void name(struct preflight_facts *f)                                         \
	{                                                                                   \
		__VA_ARGS__;                                                                \
	}

SPOIL(not_root, f->process.root = false)
SPOIL(no_net_raw, f->process.capabilities &= ~(BIT(CAP_NET_RAW) | BIT(CAP_KILL)))
SPOIL(no_ipc_lock, f->process.capabilities &= ~BIT(CAP_IPC_LOCK))
SPOIL(old_accounting, f->process.bpf_by_cgroup = false)
SPOIL(no_ringbuf, f->kernel.features &= ~BIT(FEATURE_RINGBUF))
SPOIL(no_loops, f->kernel.features &= ~(BIT(FEATURE_LOOP_XDP) | BIT(FEATURE_LOOP_TC)))
SPOIL(no_inner_maps, f->kernel.inner_maps = false)
SPOIL(no_sockopt, f->kernel.app_features &= ~BIT(APP_FEATURE_CGROUP_SOCKOPT))
SPOIL(no_af_xdp, f->kernel.af_xdp = -EAFNOSUPPORT)
SPOIL(no_tc, f->kernel.tcx = false)
SPOIL(no_btf, f->kernel.btf = false)
SPOIL(no_jit, f->kernel.jit = false)
SPOIL(no_programs, f->kernel.programs = -EINVAL;
      strcpy(f->kernel.programs_cause, "the verifier's reason"))
SPOIL(no_bpffs, f->system.bpffs = -ENOENT)
SPOIL(fixed_bpffs, f->system.bpffs = -EROFS)
SPOIL(no_cgroup2, f->system.cgroup2[0] = '\0')
SPOIL(hidden_cgroup2, f->system.cgroup2_hidden = true)
SPOIL(no_tun, f->system.tun = -ENOENT)
SPOIL(no_tun_module, f->system.tun = -ENODEV)
SPOIL(shut_tun, f->system.tun = -EACCES)
SPOIL(no_vnet_header, f->system.tun_vnet_header = false)
SPOIL(fixed_state, f->system.state.err = -EROFS)
SPOIL(shut_run, f->system.run.err = -EACCES)
SPOIL(no_aes, f->system.aes = false)
SPOIL(no_engine, f->system.engine[0] = '\0')
SPOIL(no_nic, f->nic.err = -ENODEV)
SPOIL(no_ethernet, f->nic.nic.ethernet = false)
SPOIL(down, f->nic.nic.up = false)
SPOIL(enslaved, strcpy(f->nic.master, "br0"))
SPOIL(vlan_above, strcpy(f->nic.reach.above, "eth0.5"); strcpy(f->nic.reach.beside, "eth1"))
SPOIL(another, strcpy(f->nic.reach.beside, "eth1"))
SPOIL(attached, f->nic.attachment = ATTACHMENT_LIVE)
SPOIL(guarded, f->nic.attachment = ATTACHMENT_GUARD; f->nic.attachment_generic = true)
SPOIL(other_abi, f->nic.attachment = ATTACHMENT_FOREIGN_ABI;
      strcpy(f->nic.attachment_cause, "older"))
SPOIL(jumbo, f->nic.nic.mtu = 9000)
SPOIL(jumbo_unknown, f->nic.nic.mtu = 9000; strcpy(f->nic.nic.driver, "ixgbe"))
SPOIL(jumbo_generic, f->nic.nic.mtu = 9000; f->wanted.xdp_mode = XDP_MODE_GENERIC)
SPOIL(tiny, f->nic.nic.mtu = 1000)
SPOIL(narrow, f->nic.nic.mtu = 1340)
SPOIL(many_queues, f->nic.nic.queues = 128; f->nic.cpus = 256; f->nic.channels.combined = 128)
SPOIL(idle_queues, f->nic.nic.queues = 16; f->nic.channels.combined = 16)
SPOIL(ena_queues, strcpy(f->nic.nic.driver, "ena"); f->nic.channels.max_combined = 4)
SPOIL(bnxt_queues, strcpy(f->nic.nic.driver, "bnxt_en");
      f->nic.channels = (struct nic_channels){ .rx = 4, .tx = 4 })
SPOIL(mute_queues, f->nic.channels = (struct nic_channels){ .rx = 4, .tx = 2 })
SPOIL(lean_rss, f->nic.rss_queues = 1)
SPOIL(no_xdp, f->nic.xdp_features = 0)
SPOIL(no_redirect, f->nic.xdp_features = NIC_XDP_BASIC)
SPOIL(unknown_xdp, f->nic.xdp_features_err = -EOPNOTSUPP; strcpy(f->nic.nic.driver, "e1000e"))
SPOIL(foreign_native, f->nic.xdp = ((struct nic_xdp){ .prog_id = 9, .mode = "native" }))
SPOIL(foreign_generic, f->nic.xdp = ((struct nic_xdp){ .prog_id = 9, .mode = "generic" }))
SPOIL(foreign_link, f->nic.xdp = ((struct nic_xdp){ .prog_id = 9, .link_id = 5, .name = "fw",
						    .mode = "native" }))
SPOIL(dispatcher, f->nic.xdp = ((struct nic_xdp){ .prog_id = 9, .name = "xdp_dispatcher",
						  .mode = "native" }))
SPOIL(silent_xdp, f->nic.xdp_err = -EPERM)
SPOIL(lro, f->nic.offloads.on[NIC_OFFLOAD_LRO] = true)
SPOIL(fixed_lro,
      f->nic.offloads.on[NIC_OFFLOAD_LRO] = f->nic.offloads.fixed[NIC_OFFLOAD_LRO] = true)
SPOIL(gro_hw, f->nic.offloads.on[NIC_OFFLOAD_GRO_HW] = true)
SPOIL(virtio_gro_hw, f->nic.offloads.on[NIC_OFFLOAD_GRO_HW] = true;
      f->nic.offloads.fixed[NIC_OFFLOAD_GRO_HW] = true; strcpy(f->nic.nic.driver, "virtio_net"))
SPOIL(rx_vlan, f->nic.offloads.on[NIC_OFFLOAD_RX_VLAN] = true)
SPOIL(no_gso, f->nic.offloads.on[NIC_OFFLOAD_GSO] = false)
SPOIL(tcx_before, f->nic.own_egress = 7; f->nic.tc.tcx_count = 2; f->nic.tc.tcx_ids[0] = 8)
SPOIL(tcx_link_before, f->nic.own_egress = 7; f->nic.tc.tcx_count = 2; f->nic.tc.tcx_ids[0] = 8;
      f->nic.tc.tcx_link = 6)
SPOIL(filter_before, f->nic.tc.tcx = false;
      f->nic.tc.filter_count = 1; f->nic.tc.first_priority = 1)
SPOIL(silent_tc, f->nic.tc_err = -EPERM)
SPOIL(session, f->nic.session = true)
SPOIL(strict, f->network.rp_filter_all = 1)
SPOIL(local, f->network.accept_local_all = 1)
SPOIL(mark_taken, f->network.others.rule_count = 2;
      f->network.others.rules[0] = ((struct net_mark_rule){ 100, 0xca6c, 0xffffffff, false });
      f->network.others.rules[1] = ((struct net_mark_rule){ 200, 0xe5e50000, 0xffff0000, true }))
SPOIL(xfrm, f->network.others.xfrm_policies = 2)

static const struct ill ills[] = {
#define ILL(check, result, found, fix, spoil)                                               \
	{ PREFLIGHT_##check, PREFLIGHT_##result, found, fix, spoil },
#define KERNEL "apt-get install linux-image-amd64"
	ILL(capabilities, FAILURE, "not root", "sudo ipsecbpf preflight eth0", not_root)
	ILL(capabilities, FAILURE, ": CAP_NET_RAW, CAP_KILL",
	    "systemd-run --pty ipsecbpf preflight eth0",
	    no_net_raw)
	ILL(memlock, FAILURE, "8192 KiB; 32 MiB", "prlimit --pid $$ --memlock=33554432:",
	    no_ipc_lock)
	ILL(memlock, FAILURE, "288 MiB", "prlimit --pid $$ --memlock=301989888", old_accounting)
	ILL(bpf_features, FAILURE, "without ring buffer", KERNEL, no_ringbuf)
	ILL(bpf_features, FAILURE, "bpf_loop in XDP, bpf_loop in tc", KERNEL, no_loops)
	ILL(inner_maps, FAILURE, "lengths", KERNEL, no_inner_maps)
	ILL(application_policy, WARNING, "cgroup/sockopt", KERNEL, no_sockopt)
	ILL(af_xdp, FAILURE, "not supported", KERNEL, no_af_xdp)
	ILL(tc_hook, FAILURE, "neither", "modprobe -a sch_ingress cls_bpf", no_tc)
	ILL(btf, WARNING, "vmlinux", KERNEL, no_btf)
	ILL(jit, WARNING, "interpreted", "sysctl -w net.core.bpf_jit_enable=1", no_jit)
	ILL(programs, FAILURE, "the verifier's reason", KERNEL, no_programs)
	ILL(bpffs, FAILURE, "not mounted", "mkdir -p /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf",
	    no_bpffs)
	ILL(bpffs, FAILURE, "read-only", "mount -o remount,rw /sys/fs/bpf", fixed_bpffs)
	ILL(cgroup2, WARNING, "not mounted",
	    "mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2", no_cgroup2)
	ILL(cgroup2, WARNING, "/sys/fs/cgroup is hidden",
	    "mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2", hidden_cgroup2)
	ILL(tun, FAILURE, "No such file", "mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200",
	    no_tun)
	ILL(tun, FAILURE, "No such device", "modprobe tun", no_tun_module)
	ILL(tun, FAILURE, "denied", "chmod 666 /dev/net/tun", shut_tun)
	ILL(tun, FAILURE, "vnet headers", KERNEL, no_vnet_header)
	ILL(state_dir, FAILURE, "/var/lib: Read-only",
	    "mount -o remount,rw $(findmnt -no TARGET -T /var/lib)", fixed_state)
	ILL(run_dir, FAILURE, "/run: Permission", "chown root /run && chmod u+rwx /run", shut_run)
	ILL(cpu_aes, WARNING, "no AES",
	    "ipsecbpf sa genkey --suite chacha20poly1305 --src A --dst B", no_aes)
	ILL(engine, FAILURE, "none", "apt-get install --reinstall libssl3", no_engine)
	ILL(interface, FAILURE, "no such interface", "ip -brief link show", no_nic)
	ILL(interface, FAILURE, "not an Ethernet", "ip -brief link show", no_ethernet)
	ILL(interface, WARNING, "down", "ip link set dev eth0 up", down)
	ILL(interface, WARNING, "a port of br0", "ip link set dev eth0 nomaster", enslaved)
	ILL(attachment, FAILURE, "already", "ipsecbpf detach eth0", attached)
	ILL(attachment, WARNING, "a guard", "ipsecbpf attach eth0 --xdp generic", guarded)
	ILL(attachment, FAILURE, "older", "ipsecbpf detach eth0 --open", other_abi)
	ILL(applications, WARNING, "eth0.5 lies above", "", vlan_above)
	ILL(applications, WARNING, "eth1 is attached beside", "", another)
	ILL(mtu, FAILURE, "native XDP of driver ice takes at most 3046",
	    "ip link set dev eth0 mtu 1500",
	    jumbo)
	ILL(mtu, FAILURE, "AF_XDP frames hold", "ip link set dev eth0 mtu 1500", jumbo_unknown)
	ILL(mtu, FAILURE, "AF_XDP frames hold", "ip link set dev eth0 mtu 1500", jumbo_generic)
	ILL(mtu, FAILURE, "at least 1280", "ip link set dev eth0 mtu 1500", tiny)
	ILL(esp_room, WARNING, "carries 1263 octets", "ip link set dev eth0 mtu 1500", narrow)
	ILL(queues, FAILURE, "128", "ethtool -L eth0 combined 64", many_queues)
	ILL(queues, WARNING, "16 for 4 CPUs", "ethtool -L eth0 combined 4", idle_queues)
	ILL(queues, FAILURE, "half", "ethtool -L eth0 combined 2", ena_queues)
	ILL(queues, FAILURE, "combined", "ethtool -L eth0 rx 0 tx 0 combined 4", bnxt_queues)
	ILL(queues, WARNING, "send", "ethtool -L eth0 rx 2", mute_queues)
	ILL(rss, WARNING, "1 of 4", "ethtool -X eth0 equal 4", lean_rss)
	ILL(xdp_mode, FAILURE, "no native XDP", "ipsecbpf attach eth0 --xdp generic", no_xdp)
	ILL(xdp_mode, FAILURE, "with redirection", "ipsecbpf attach eth0 --xdp generic",
	    no_redirect)
	ILL(xdp_mode, WARNING, "e1000e", "ipsecbpf attach eth0 --xdp generic", unknown_xdp)
	ILL(xdp_hook, FAILURE, "id 9, native", "ip link set dev eth0 xdpdrv off", foreign_native)
	ILL(xdp_hook, FAILURE, "id 9, generic", "ip link set dev eth0 xdpgeneric off",
	    foreign_generic)
	ILL(xdp_hook, FAILURE, "fw, id 9", "bpftool link detach id 5", foreign_link)
	ILL(xdp_hook, FAILURE, "id 9", "xdp-loader unload eth0 --all", dispatcher)
	ILL(xdp_hook, WARNING, "cannot ask", "ip -details link show dev eth0", silent_xdp)
	ILL(lro, WARNING, "on", "ethtool -K eth0 lro off", lro)
	ILL(lro, WARNING, "on", "ipsecbpf attach eth0 --xdp generic", fixed_lro)
	ILL(gro_hw, WARNING, "on", "ethtool -K eth0 rx-gro-hw off", gro_hw)
	ILL(gro_hw, FAILURE, "virtio_net", "ipsecbpf attach eth0 --xdp generic", virtio_gro_hw)
	ILL(rx_vlan, WARNING, "stripped", "ethtool -K eth0 rxvlan off", rx_vlan)
	ILL(gso, WARNING, "packet by packet", "ethtool -K eth0 sg on gso on", no_gso)
	ILL(tc_order, WARNING, "program 8",
	    "ipsecbpf detach eth0 --open && ipsecbpf attach eth0", tcx_before)
	ILL(tc_order, WARNING, "program 8", "bpftool link detach id 6", tcx_link_before)
	ILL(tc_order, WARNING, "priority 1", "tc filter del dev eth0 egress prio 1", filter_before)
	ILL(tc_order, WARNING, "cannot ask", "tc filter show dev eth0 egress", silent_tc)
	ILL(session, WARNING, "yours",
	    "ipsecbpf attach eth0 --policy /etc/ipsecbpf/policy.json --trial 60", session)
	ILL(rp_filter, WARNING, "strict", "sysctl -w net/ipv4/conf/eth0/rp_filter=2", strict)
	ILL(accept_local, WARNING, "on",
	    "sysctl -w net/ipv4/conf/all/accept_local=0 net/ipv4/conf/eth0/accept_local=0", local)
	ILL(mark, WARNING, "ip -6 rule 200 (fwmark 0xe5e50000/0xffff0000)",
	    "ipsecbpf attach eth0 --mark 0xe500/0xff00", mark_taken)
	ILL(others, WARNING, "2 policies", "ip xfrm policy flush", xfrm)
};

static void test_all_well(void **state)
{
	struct preflight_facts facts = good_facts();
	struct preflight_finding finding;

	(void)state;
	for (int check = 0; check < PREFLIGHT_CHECK_COUNT; check++) {
		const char *id = preflight_check_text((enum preflight_check)check)->id;

		preflight_judge(&facts, (enum preflight_check)check, &finding);
		if (finding.result != PREFLIGHT_OK || !finding.found[0] || finding.fix[0])
			fail_msg("%s: %s (fix: %s)", id, finding.found, finding.fix);
	}
}

static void test_ills(void **state)
{
	struct preflight_finding finding;
	bool seen[PREFLIGHT_CHECK_COUNT] = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(ills) / sizeof(ills[0]); i++) {
		const struct ill *ill = &ills[i];
		const char *id = preflight_check_text(ill->check)->id;
		struct preflight_facts facts = good_facts();

		ill->spoil(&facts);
		preflight_judge(&facts, ill->check, &finding);
		seen[ill->check] = true;
		if (finding.result != ill->result || !strstr(finding.found, ill->found))
			fail_msg("%s: \"%s\" (%d), not \"%s\"", id, finding.found, finding.result,
				 ill->found);
		if (strcmp(finding.fix, ill->fix) != 0)
			fail_msg("%s: fix \"%s\", not \"%s\"", id, finding.fix, ill->fix);
	}
	/* Every check but the one that is a note only. */
	for (int check = 0; check < PREFLIGHT_CHECK_COUNT; check++)
		if (!seen[check] && check != PREFLIGHT_zero_copy)
			fail_msg("%s was never seen not ok",
				 preflight_check_text((enum preflight_check)check)->id);
}

/* A fix is pasted into a shell: no name may be more than a word there. */
static void test_names_for_the_shell(void **state)
{
	static const char *const names[][2] = {
		{ "eth0.7@x-y_z", "eth0.7@x-y_z" }, { "x;id", "'x;id'" }, { "$(id)", "'$(id)'" },
		{ "a'b", "$'a\\x27b'" }, { "e\033[31m", "$'e\\x1b\\x5b31m'" },
	};
	struct preflight_facts facts = good_facts();
	struct preflight_finding finding;
	char fix[128];

	(void)state;
	facts.nic.offloads.on[NIC_OFFLOAD_GSO] = false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		preflight_set_name(&facts, names[i][0]);
		preflight_judge(&facts, PREFLIGHT_gso, &finding);
		snprintf(fix, sizeof(fix), "ethtool -K %s sg on gso on", names[i][1]);
		assert_string_equal(finding.fix, fix);
	}
}

/* What is not as usual, and yet well. */
static void test_well_enough(void **state)
{
	struct preflight_facts facts = good_facts();
	struct preflight_finding finding;

	(void)state;
	/* A rule of wg-quick's looks at all bits, but at another value. */
	facts.network.others.rule_count = 1;
	facts.network.others.rules[0] = (struct net_mark_rule){ 100, 0xca6c, UINT32_MAX, false };
	preflight_judge(&facts, PREFLIGHT_mark, &finding);
	assert_int_equal(finding.result, PREFLIGHT_OK);
	/* Ours is not a foreign program; nor is what runs behind ours a danger. */
	facts.nic.xdp = (struct nic_xdp){ .prog_id = 9, .mode = "native" };
	facts.nic.own_xdp = 9;
	preflight_judge(&facts, PREFLIGHT_xdp_hook, &finding);
	assert_int_equal(finding.result, PREFLIGHT_OK);
	/* Loose on the interface beats strict on all: the kernel takes the higher number. */
	facts.network.rp_filter_all = 1;
	facts.network.rp_filter = 2;
	preflight_judge(&facts, PREFLIGHT_rp_filter, &finding);
	assert_int_equal(finding.result, PREFLIGHT_OK);
	/* In generic mode the driver's limits do not count. */
	facts.wanted.xdp_mode = XDP_MODE_GENERIC;
	facts.nic.xdp_features = 0;
	facts.nic.nic.mtu = 3400;
	preflight_judge(&facts, PREFLIGHT_xdp_mode, &finding);
	assert_int_equal(finding.result, PREFLIGHT_OK);
	preflight_judge(&facts, PREFLIGHT_mtu, &finding);
	assert_int_equal(finding.result, PREFLIGHT_OK);
	/* A WireGuard of the host's is a note. */
	facts.network.others.wireguard_count = 1;
	preflight_judge(&facts, PREFLIGHT_others, &finding);
	assert_int_equal(finding.result, PREFLIGHT_OK);
	assert_non_null(strstr(finding.found, "WireGuard"));
}

/* Without the interface, or the capabilities, what cannot be asked is left out. */
static void test_left_out(void **state)
{
	struct preflight_facts facts = good_facts();
	struct preflight_finding finding;
	const char *group;

	(void)state;
	facts.nic.err = -ENODEV;
	facts.kernel.asked = facts.kernel.programs_asked = false;
	facts.kernel.af_xdp = 1;
	facts.nic.attachment = ATTACHMENT_NOT_ASKED;
	for (int check = 0; check < PREFLIGHT_CHECK_COUNT; check++) {
		group = preflight_check_text((enum preflight_check)check)->group;
		preflight_judge(&facts, (enum preflight_check)check, &finding);
		if (check != PREFLIGHT_interface && check != PREFLIGHT_capabilities &&
		    (!strcmp(group, "interface") || !strcmp(group, "kernel") ||
		     !strcmp(group, "process")))
			assert_string_equal(finding.found, "");
		else
			assert_string_not_equal(finding.found, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_well),
		cmocka_unit_test(test_ills),
		cmocka_unit_test(test_names_for_the_shell),
		cmocka_unit_test(test_well_enough),
		cmocka_unit_test(test_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
