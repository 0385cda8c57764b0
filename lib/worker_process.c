// SPDX-License-Identifier: BSD-2-Clause
#include "worker_process.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"

#define ANSWER_MS 5000

int worker_process_open_ports(struct worker_process *process)
{
	struct worker_config *config = &process->config;
	int err = 0;

	config->ports = process->ports;
	for (uint32_t queue = 0; !err && queue < config->port_count; queue++) {
		struct wire_port *port = &process->ports[queue];
		int fd;

		err = wire_port_open(port, process->ifname, queue, process->frame_size);
		if (err)
			break;
		fd = wire_port_fd(port);
		if (bpf_map_update_elem(process->xsks_fd, &queue, &fd, 0))
			err = -errno;
	}
	if (err)
		worker_process_close_ports(process);
	return err;
}

void worker_process_close_ports(struct worker_process *process)
{
	for (uint32_t queue = 0; queue < process->config.port_count; queue++) {
		/* From here on XDP finds no socket and drops: the fallback of the redirect. */
		bpf_map_delete_elem(process->xsks_fd, &queue);
		wire_port_close(&process->ports[queue]);
	}
}

static void child(struct worker_process *process, int message_fd, int parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(3);
	process->config.message_fd = message_fd;
	worker_main(&process->config);
}

int worker_process_start(struct worker_process *process)
{
	int pair[2], parent = (int)getpid();
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid == 0)
		child(process, pair[1], parent);
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -EAGAIN;
	}
	process->pid = pid;
	process->pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	process->message_fd = pair[0];
	process->started_ns = clock_ns();
	if (process->pid_fd < 0) {
		worker_process_stop(process);
		return -EMFILE;
	}
	return 0;
}

void worker_process_stop(struct worker_process *process)
{
	if (!process->pid)
		return;
	close(process->message_fd);
	kill(process->pid, SIGKILL);
	while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (process->pid_fd >= 0)
		close(process->pid_fd);
	process->pid = 0;
	process->pid_fd = process->message_fd = -1;
}

int worker_process_tell(struct worker_process *process, const struct worker_message *message)
{
	struct pollfd wait = { .fd = process->message_fd, .events = POLLIN };
	int32_t answer;

	if (!process->pid)
		return -EPIPE;
	if (send(process->message_fd, message, sizeof(*message), MSG_NOSIGNAL) != sizeof(*message))
		return -EPIPE;
	if (poll(&wait, 1, ANSWER_MS) != 1 ||
	    recv(process->message_fd, &answer, sizeof(answer), 0) != sizeof(answer))
		return -EPIPE;
	return answer;
}
