// SPDX-License-Identifier: BSD-2-Clause
#include "process_sockets.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKETS_MAX 65536	/* of one process */

struct sockets {
	unsigned long *inodes;	/* of the process's descriptors, sorted */
	size_t inode_count;
	struct packet_spec *specs;
	size_t count;
};

/* ---- which sockets are the process's -------------------------------------------------------- */

static int compare_inodes(const void *a, const void *b)
{
	const unsigned long *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The inode of descriptor `name` in the directory, or 0. */
static unsigned long socket_inode(int directory, const char *name)
{
	char target[64];
	unsigned long inode;
	ssize_t len = readlinkat(directory, name, target, sizeof(target) - 1);

	if (len < 0)
		return 0;
	target[len] = '\0';
	return sscanf(target, "socket:[%lu]", &inode) == 1 ? inode : 0;
}

static int read_descriptors(int pid, struct sockets *sockets)
{
	const struct dirent *entry;
	char path[64];
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	directory = opendir(path);
	if (!directory)
		return errno == ENOENT ? -ESRCH : -errno;
	sockets->inodes = calloc(SOCKETS_MAX, sizeof(*sockets->inodes));
	while (sockets->inodes && sockets->inode_count < SOCKETS_MAX &&
	       (entry = readdir(directory))) {
		unsigned long inode = socket_inode(dirfd(directory), entry->d_name);

		if (inode)
			sockets->inodes[sockets->inode_count++] = inode;
	}
	closedir(directory);
	if (!sockets->inodes)
		return -ENOMEM;
	qsort(sockets->inodes, sockets->inode_count, sizeof(*sockets->inodes), compare_inodes);
	return 0;
}

/* ---- what they are connected to ------------------------------------------------------------- */

/* Words of eight digits, each a 32-bit word of the address as it lies in memory. */
static bool parse_words(const char *text, size_t words, union wire_addr *ret_addr)
{
	for (size_t i = 0; i < words; i++)
		if (sscanf(text + 8 * i, "%8x", &ret_addr->w[i]) != 1)
			return false;
	return true;
}

/* An IPv4 connection of an IPv6 socket. */
static bool unmap(struct packet_spec *spec)
{
	const __be32 prefix = htonl(0xffff);

	if (spec->src.w[0] | spec->src.w[1] | spec->dst.w[0] | spec->dst.w[1] ||
	    spec->src.w[2] != prefix || spec->dst.w[2] != prefix)
		return false;
	spec->src = (union wire_addr){ .w = { spec->src.w[3] } };
	spec->dst = (union wire_addr){ .w = { spec->dst.w[3] } };
	spec->family = FAMILY_V4;
	return true;
}

bool process_socket_line(const char *line, enum ip_family family, struct packet_spec *ret_spec,
			 unsigned long *ret_inode)
{
	size_t words = family == FAMILY_V4 ? 1 : 4;
	struct packet_spec spec = { .family = (uint8_t)family };
	char local[40], remote[40];
	unsigned int local_port, remote_port;

	if (sscanf(line, " %*d: %39[0-9A-Fa-f]:%x %39[0-9A-Fa-f]:%x %*x %*x:%*x %*x:%*x %*x %*u %*u %lu",
		   local, &local_port, remote, &remote_port, ret_inode) != 5)
		return false;
	if (strlen(local) != 8 * words || strlen(remote) != 8 * words || !remote_port)
		return false;
	if (!parse_words(local, words, &spec.src) || !parse_words(remote, words, &spec.dst))
		return false;
	spec.src_port = (uint16_t)local_port;
	spec.dst_port = (uint16_t)remote_port;
	if (family == FAMILY_V6)
		unmap(&spec);
	*ret_spec = spec;
	return true;
}

static int read_table(int pid, const char *table, enum ip_family family, uint8_t proto,
		      struct sockets *sockets)
{
	struct packet_spec spec;
	unsigned long inode;
	char path[64], line[512];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, table);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? 0 : -errno;	/* a kernel without IPv6 */
	while (fgets(line, sizeof(line), file)) {
		if (!process_socket_line(line, family, &spec, &inode) ||
		    sockets->count == sockets->inode_count ||
		    !bsearch(&inode, sockets->inodes, sockets->inode_count, sizeof(inode),
			     compare_inodes))
			continue;
		spec.proto = proto;
		sockets->specs[sockets->count++] = spec;
	}
	fclose(file);
	return 0;
}

static int read_tables(int pid, struct sockets *sockets)
{
	static const struct {
		const char *table;
		enum ip_family family;
		uint8_t proto;
	} tables[] = {
		{ "tcp", FAMILY_V4, IPPROTO_TCP }, { "tcp6", FAMILY_V6, IPPROTO_TCP },
		{ "udp", FAMILY_V4, IPPROTO_UDP }, { "udp6", FAMILY_V6, IPPROTO_UDP },
	};
	int err = 0;

	sockets->specs = calloc(sockets->inode_count + 1, sizeof(*sockets->specs));
	if (!sockets->specs)
		return -ENOMEM;
	for (size_t i = 0; !err && i < sizeof(tables) / sizeof(tables[0]); i++)
		err = read_table(pid, tables[i].table, tables[i].family, tables[i].proto, sockets);
	return err;
}

static int check_namespace(int pid)
{
	struct stat ours, theirs;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	if (stat(path, &theirs))
		return errno == ENOENT ? -ESRCH : -errno;
	if (stat("/proc/self/ns/net", &ours))
		return -errno;
	return ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev ? 0 : -EXDEV;
}

static void explain_failure(int pid, int err, struct ipsecbpf_report *report)
{
	char object[32];

	snprintf(object, sizeof(object), "process %d", pid);
	if (err == -ESRCH)
		report_error(report, object, "ipsecbpf app sockets lists those with sockets",
			     "there is none");
	else if (err == -EXDEV)
		report_error(report, object, "run ipsecbpf in its namespace: nsenter --net",
			     "lives in another network namespace");
	else
		report_error(report, object, NULL, "its sockets cannot be read: %s",
			     strerror(-err));
}

int process_sockets(int pid, struct packet_spec **ret_specs, size_t *ret_count,
		    struct ipsecbpf_report *report)
{
	struct sockets sockets = { 0 };
	int err = check_namespace(pid);

	if (!err)
		err = read_descriptors(pid, &sockets);
	if (!err)
		err = read_tables(pid, &sockets);
	free(sockets.inodes);
	if (err) {
		free(sockets.specs);
		explain_failure(pid, err, report);
		return err;
	}
	*ret_specs = sockets.specs;
	*ret_count = sockets.count;
	return 0;
}
