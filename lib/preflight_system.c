// SPDX-License-Identifier: BSD-2-Clause
/* Preflight asks the system: file systems, devices, crypto, sysctls. It reads only. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "crypto.h"
#include "paths.h"
#include "preflight.h"

#define TUN_DEVICE "/dev/net/tun"

/* ---- file systems ---------------------------------------------------------------------------- */

static int probe_bpffs(void)
{
	int err = paths_check_bpffs();

	if (err)
		return err;
	return access(BPFFS, W_OK | X_OK) ? -errno : 0;
}

/* The last mount that can be seen; one that is hidden if there is no other. */
static void probe_cgroup2(struct preflight_system *system)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	const struct mntent *entry;
	struct statfs fs;

	while (mounts && (entry = getmntent(mounts))) {
		bool hidden;

		if (strcmp(entry->mnt_type, "cgroup2") != 0)
			continue;
		hidden = statfs(entry->mnt_dir, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC;
		if (hidden && system->cgroup2[0])
			continue;
		snprintf(system->cgroup2, sizeof(system->cgroup2), "%s", entry->mnt_dir);
		system->cgroup2_hidden = hidden;
		if (!hidden)
			break;
	}
	if (mounts)
		endmntent(mounts);
}

static void probe_directory(const char *path, struct preflight_directory *directory)
{
	char *slash;

	snprintf(directory->path, sizeof(directory->path), "%s", path);
	while (access(directory->path, F_OK) && (slash = strrchr(directory->path, '/')) &&
	       slash != directory->path)
		*slash = '\0';
	directory->exists = !strcmp(path, directory->path);
	directory->err = access(directory->path, W_OK | X_OK) ? -errno : 0;
}

static void probe_tun(struct preflight_system *system)
{
	unsigned int features = 0;
	int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		system->tun = -errno;
		return;
	}
	system->tun_vnet_header = !ioctl(fd, TUNGETFEATURES, &features) &&
				  features & IFF_VNET_HDR && features & IFF_TAP;
	close(fd);
}

/* ---- crypto ---------------------------------------------------------------------------------- */

static bool has_aes_instructions(void)
{
#if defined(__x86_64__) || defined(__i386__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
	return true; /* unknown: no reason to warn */
#endif
}

static void probe_crypto(struct preflight_system *system)
{
	const struct crypto_engine *engine;

	system->aes = has_aes_instructions();
	engine = crypto_engine_at(0);
	if (engine)
		snprintf(system->engine, sizeof(system->engine), "%s", engine->name);
	for (unsigned int i = 0; (engine = crypto_engine_at(i)); i++) {
		size_t have = strlen(system->engines);

		snprintf(system->engines + have, sizeof(system->engines) - have, "%s%s",
			 i ? ", " : "", engine->name);
	}
}

void preflight_probe_system(struct preflight_facts *facts)
{
	struct preflight_system *system = &facts->system;

	system->bpffs = probe_bpffs();
	probe_cgroup2(system);
	probe_tun(system);
	probe_directory(SEQ_DIR, &system->state);
	probe_directory(RUN_ROOT, &system->run);
	probe_crypto(system);
}

/* ---- the network namespace ------------------------------------------------------------------- */

/* /proc/sys/net shows the network namespace of whoever opens it. -1: not there. */
static int read_sysctl(const char *ifname, const char *name)
{
	char path[128], text[16] = "";
	FILE *file;
	int value = -1;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", ifname, name);
	file = fopen(path, "re");
	if (!file)
		return -1;
	if (fgets(text, sizeof(text), file))
		value = (int)strtol(text, NULL, 10);
	fclose(file);
	return value;
}

void preflight_probe_network(struct preflight_facts *facts)
{
	struct preflight_network *network = &facts->network;

	network->rp_filter_all = read_sysctl("all", "rp_filter");
	network->rp_filter = read_sysctl(facts->ifname, "rp_filter");
	network->accept_local_all = read_sysctl("all", "accept_local");
	network->accept_local = read_sysctl(facts->ifname, "accept_local");
	network->others_err = net_others_read(facts->nic.nic.ifindex, &network->others);
}
