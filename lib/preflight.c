// SPDX-License-Identifier: BSD-2-Clause
/* Preflight: would attach work here? This file asks the system, preflight_nic.c the interface. */
#include "preflight.h"

#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"
#include "loader.h"
#include "paths.h"

#define FINDING_MAX 512
#define TUN_DEVICE  "/dev/net/tun"

/* X(capability) that attach, supervisor and worker start need; see sandbox.c. */
#define CAPABILITIES(X)							\
	X(NET_ADMIN) X(NET_RAW) X(BPF) X(IPC_LOCK) X(KILL) X(SETUID) X(SETGID) X(SETPCAP)

void preflight_say(struct preflight *preflight, enum preflight_result result, const char *check,
		   const char *fix, const char *finding, ...)
{
	const char *hole = fix ? strstr(fix, "%s") : NULL;
	char text[FINDING_MAX], command[256];
	va_list args;

	va_start(args, finding);
	vsnprintf(text, sizeof(text), finding, args);
	va_end(args);
	if (hole)
		snprintf(command, sizeof(command), "%.*s%s%s", (int)(hole - fix), fix,
			 preflight->ifname, hole + 2);
	preflight->failures += result == PREFLIGHT_FAILURE;
	preflight->fn(preflight->context, result, check, text, hole ? command : fix);
}

/* ---- privileges ---------------------------------------------------------------------------- */

static bool check_privileges(struct preflight *p)
{
	static const struct {
		unsigned int number;
		const char *name;
	} needed[] = {
#define X(name) { CAP_##name, "CAP_" #name },
		CAPABILITIES(X)
#undef X
	};
	char missing[200] = "";

	if (geteuid()) {
		preflight_say(p, PREFLIGHT_FAILURE, "privileges", "sudo ipsecbpf preflight %s",
			      "not root");
		return false;
	}
	capng_get_caps_process();
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		size_t have = strlen(missing);

		if (!capng_have_capability(CAPNG_EFFECTIVE, needed[i].number))
			snprintf(missing + have, sizeof(missing) - have, " %s", needed[i].name);
	}
	if (missing[0])
		preflight_say(p, PREFLIGHT_FAILURE, "privileges",
			      "systemd-run --pty ipsecbpf preflight %s",
			      "root without%s: a container or service setting took them away", missing);
	else
		preflight_say(p, PREFLIGHT_OK, "privileges", NULL, "root, with every capability needed");
	return !missing[0];
}

/* ---- kernel -------------------------------------------------------------------------------- */

enum probe_kind { PROBE_PROG, PROBE_MAP, PROBE_HELPER };

struct probe {
	enum probe_kind kind;
	int prog_type, type;		/* program type of a helper; what is probed */
	const char *name;
	enum preflight_result without;
};

static const struct probe probes[] = {
	{ PROBE_PROG, 0, BPF_PROG_TYPE_XDP, "XDP programs", PREFLIGHT_FAILURE },
	{ PROBE_PROG, 0, BPF_PROG_TYPE_SCHED_CLS, "tc programs", PREFLIGHT_FAILURE },
	{ PROBE_MAP, 0, BPF_MAP_TYPE_XSKMAP, "xskmap", PREFLIGHT_FAILURE },
	{ PROBE_MAP, 0, BPF_MAP_TYPE_RINGBUF, "ringbuf", PREFLIGHT_FAILURE },
	{ PROBE_MAP, 0, BPF_MAP_TYPE_ARRAY_OF_MAPS, "array_of_maps", PREFLIGHT_FAILURE },
	{ PROBE_HELPER, BPF_PROG_TYPE_XDP, BPF_FUNC_loop, "bpf_loop", PREFLIGHT_FAILURE },
	{ PROBE_HELPER, BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_loop, "bpf_loop in tc",
	  PREFLIGHT_FAILURE },
	{ PROBE_HELPER, BPF_PROG_TYPE_XDP, BPF_FUNC_redirect_map, "bpf_redirect_map",
	  PREFLIGHT_FAILURE },
	{ PROBE_MAP, 0, BPF_MAP_TYPE_SK_STORAGE, "sk_storage (application policy)",
	  PREFLIGHT_WARNING },
	{ PROBE_HELPER, BPF_PROG_TYPE_SCHED_CLS, BPF_FUNC_skb_cgroup_id,
	  "bpf_skb_cgroup_id (application policy)", PREFLIGHT_WARNING },
};

static bool kernel_has(const struct probe *probe)
{
	switch (probe->kind) {
	case PROBE_PROG:
		return libbpf_probe_bpf_prog_type((enum bpf_prog_type)probe->type, NULL) == 1;
	case PROBE_MAP:
		return libbpf_probe_bpf_map_type((enum bpf_map_type)probe->type, NULL) == 1;
	default:
		return libbpf_probe_bpf_helper((enum bpf_prog_type)probe->prog_type,
					       (enum bpf_func_id)probe->type, NULL) == 1;
	}
}

static void check_kernel(struct preflight *p)
{
	size_t found = 0, count = sizeof(probes) / sizeof(probes[0]);

	for (size_t i = 0; i < count; i++) {
		if (kernel_has(&probes[i]))
			found++;
		else
			preflight_say(p, probes[i].without, "kernel",
				      "apt-get install linux-image-amd64",
				      "no %s: Linux 5.17 or newer with CONFIG_BPF_SYSCALL, CONFIG_XDP_SOCKETS and CONFIG_NET_CLS_ACT is needed",
				      probes[i].name);
	}
	if (found == count)
		preflight_say(p, PREFLIGHT_OK, "kernel", NULL, "has all %zu BPF features asked for",
			      count);
}

/* The verifier's word counts more than any list of features: load the programs, attach nothing. */
static void check_programs(struct preflight *p)
{
	const struct loader_config config = {
		.ifname = p->ifname,
		.ifindex = p->nic.ifindex,
		.mark_value = IPSECBPF_MARK_VALUE,
		.mark_mask = IPSECBPF_MARK_MASK,
		.sa_slots = SA_SLOTS_DEFAULT,
	};
	struct ipsecbpf_report report = { 0 };
	struct loader loader;
	int err = loader_init(&loader, &config, &report);

	if (!err)
		loader_fini(&loader);
	if (err)
		preflight_say(p, PREFLIGHT_FAILURE, "programs", "apt-get install linux-image-amd64",
			      "%s", report.count ? report.items[0].cause : strerror(-err));
	else
		preflight_say(p, PREFLIGHT_OK, "programs", NULL, "the verifier takes all of them");
	report_fini(&report);
}

/* ---- file systems and devices -------------------------------------------------------------- */

static void check_bpffs(struct preflight *p)
{
	int err = paths_check_bpffs();

	preflight_say(p, err ? PREFLIGHT_FAILURE : PREFLIGHT_OK, "bpffs",
		      err ? "mount -t bpf bpf " BPFFS : NULL, "%s on " BPFFS,
		      err ? "not mounted" : "mounted");
}

static void check_cgroup2(struct preflight *p)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	const struct mntent *entry = NULL;

	while (mounts && (entry = getmntent(mounts)))
		if (!strcmp(entry->mnt_type, "cgroup2"))
			break;
	if (entry)
		preflight_say(p, PREFLIGHT_OK, "cgroup2", NULL, "mounted on %s", entry->mnt_dir);
	else
		preflight_say(p, PREFLIGHT_WARNING, "cgroup2",
			      "mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2",
			      "not mounted here; policy for applications needs it, nothing else does");
	if (mounts)
		endmntent(mounts);
}

static void check_tun(struct preflight *p)
{
	int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		preflight_say(p, PREFLIGHT_FAILURE, "host port",
			      errno == ENOENT || errno == ENODEV ? "modprobe tun" : NULL,
			      "cannot open " TUN_DEVICE ": %s", strerror(errno));
	else
		preflight_say(p, PREFLIGHT_OK, "host port", NULL, TUN_DEVICE " is there");
	if (fd >= 0)
		close(fd);
}

/* A directory that attach would make counts as writable if its nearest parent is. */
static void check_directory(struct preflight *p, const char *check, const char *directory)
{
	char path[256], fix[320];
	char *slash;
	bool exists;

	snprintf(path, sizeof(path), "%s", directory);
	while (access(path, F_OK) && (slash = strrchr(path, '/')) && slash != path)
		*slash = '\0';
	exists = !strcmp(path, directory);
	snprintf(fix, sizeof(fix), "mount -o remount,rw $(findmnt -no TARGET -T %s)", path);
	if (access(path, W_OK | X_OK))
		preflight_say(p, PREFLIGHT_FAILURE, check, errno == EROFS ? fix : NULL, "%s: %s",
			      path, strerror(errno));
	else
		preflight_say(p, PREFLIGHT_OK, check, NULL, exists ? "%s is writable" :
			      "%s is there to be made", directory);
}

/* ---- crypto -------------------------------------------------------------------------------- */

static bool has_aes_instructions(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
	return true;	/* unknown: no reason to warn */
#endif
}

static void check_crypto(struct preflight *p)
{
	const struct crypto_engine *engine;
	char names[200] = "";

	for (unsigned int i = 0; (engine = crypto_engine_at(i)); i++) {
		size_t have = strlen(names);

		snprintf(names + have, sizeof(names) - have, "%s%s", i ? ", " : "", engine->name);
	}
	if (!names[0])
		preflight_say(p, PREFLIGHT_FAILURE, "crypto", "apt-get install libssl3",
			      "no usable crypto engine");
	else if (!has_aes_instructions())
		preflight_say(p, PREFLIGHT_WARNING, "crypto",
			      "ipsecbpf sa genkey --suite chacha20poly1305 --src A --dst B",
			      "this CPU has no AES instructions: AES is slow here (engines: %s)",
			      names);
	else
		preflight_say(p, PREFLIGHT_OK, "crypto", NULL, "AES in hardware; engines: %s", names);
}

int ipsecbpf_preflight(const char *ifname, preflight_fn fn, void *context)
{
	struct preflight preflight = { .ifname = ifname, .fn = fn, .context = context };
	libbpf_print_fn_t old_print;
	struct paths paths;
	int err = paths_init(&paths, ifname);

	if (err)
		return err;
	old_print = libbpf_set_print(NULL);
	if (check_privileges(&preflight)) {
		check_kernel(&preflight);
		check_programs(&preflight);
	}
	check_bpffs(&preflight);
	check_cgroup2(&preflight);
	check_tun(&preflight);
	check_directory(&preflight, "state directory", SEQ_DIR);
	check_directory(&preflight, "run directory", RUN_ROOT);
	check_crypto(&preflight);
	preflight_nic(&preflight);
	libbpf_set_print(old_print);
	return preflight.failures;
}
