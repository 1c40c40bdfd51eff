/* For tests: real redis-server and redis-sentinel processes of our own, in a folder of their own,
 * on ports that the kernel picked, with the least-privileged user of docs/store.md. Each program
 * includes it once. */
#ifndef TESTS_REDIS_FIXTURE_H
#define TESTS_REDIS_FIXTURE_H

#include "base/net.h"
#include "tests/unit/base/tls_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* As docs/store.md tells to write it; a test compares the two. */
#define ACL_COMMANDS                                                                               \
    "-@all +auth +ping +select +role +client|setname +script|load +evalsha +getrange +set +del "   \
    "+time +llen +lrange +lindex +ltrim +rpush +pexpire +pttl +hmget +hget +hset +hdel "           \
    "+xadd +xrange +xrevrange +zadd +zrem +zcard +zscore +zrangebyscore +zremrangebyscore "        \
    "+publish +subscribe +unsubscribe"

struct process {
    pid_t pid;
    uint16_t port;
    char dir[64];
    char log[96];
};

static char scratch[64]; /* the folder of all */

static void make_scratch(void)
{
    (void)snprintf(scratch, sizeof scratch, "%s/store-test-XXXXXX", P_tmpdir);
    assert(mkdtemp(scratch));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_scratch(void)
{
    (void)nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static uint16_t free_port(void)
{
    struct net_addr any, bound;
    struct err e;
    assert(net_addr_literal(STR("127.0.0.1"), 0, &any));
    int fd = net_listen(&any, &bound, &e);
    assert(fd >= 0);
    close(fd);
    return ntohs(((struct sockaddr_in *)(void *)&bound.ss)->sin_port);
}

static void write_config(const char *path, const char *fmt, ...)
{
    FILE *f = fopen(path, "w");
    va_list ap;
    assert(f);
    va_start(ap, fmt);
    assert(vfprintf(f, fmt, ap) > 0);
    va_end(ap);
    assert(fclose(f) == 0);
}

static void spawn(struct process *p, const char *program, const char *config)
{
    pid_t parent = getpid();
    p->pid = fork();
    assert(p->pid >= 0);
    if (p->pid > 0)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    int out = open(p->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
    (void)execlp(program, program, config, (char *)NULL);
    _exit(127);
}

static inline void end_process(struct process *p)
{
    if (p->pid <= 0)
        return;
    (void)kill(p->pid, SIGCONT);
    (void)kill(p->pid, SIGKILL);
    (void)waitpid(p->pid, NULL, 0);
    p->pid = 0;
}

/* ---- a blocking client with all rights, for what tests do behind the store's back ---- */

/* Sends commands as lines ("" quotes) and returns all answers; static. */
static inline const char *admin(uint16_t port, const char *fmt, ...)
{
    static char answer[256 * 1024];
    char line[8192];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t got = 0;
    answer[0] = '\0';
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
        assert(n > 0 && (size_t)n < sizeof line);
        (void)!write(fd, line, (size_t)n);
        (void)!write(fd, "\r\n", 2);
        (void)shutdown(fd, SHUT_WR);
        ssize_t more;
        while (got < sizeof answer - 1 &&
               (more = read(fd, answer + got, sizeof answer - 1 - got)) > 0)
            got += (size_t)more;
        answer[got] = '\0';
    }
    close(fd);
    return answer;
}

static void wait_until_it_answers(uint16_t port)
{
    for (int i = 0; i < 1000 && !strstr(admin(port, "PING"), "PONG"); i++)
        (void)poll(NULL, 0, 10);
    assert(strstr(admin(port, "PING"), "PONG"));
}

/* ---- servers ---- */

/* Starts (or, with a port, starts again) a redis-server. extra: lines of its configuration. */
static inline void start_redis(struct process *p, const char *extra)
{
    static int number;
    char config[128];
    if (!p->port) {
        p->port = free_port();
        (void)snprintf(p->dir, sizeof p->dir, "%.50s/r%d", scratch, number++);
        assert(mkdir(p->dir, 0700) == 0);
        (void)snprintf(p->log, sizeof p->log, "%s/log", p->dir);
    }
    (void)snprintf(config, sizeof config, "%s/redis.conf", p->dir);
    write_config(config,
                 "port %u\nbind 127.0.0.1\ndir %s\nsave \"\"\nappendonly no\nprotected-mode no\n"
                 "user default on nopass ~* &* +@all\n"
                 "user app on >secret resetkeys ~hg:* resetchannels &hg:* " ACL_COMMANDS "\n%s",
                 p->port, p->dir, extra);
    spawn(p, "redis-server", config);
    wait_until_it_answers(p->port);
}

static inline void start_sentinel(struct process *p, uint16_t master)
{
    static int number;
    char config[128];
    p->port = free_port();
    (void)snprintf(p->dir, sizeof p->dir, "%.50s/s%d", scratch, number++);
    assert(mkdir(p->dir, 0700) == 0);
    (void)snprintf(p->log, sizeof p->log, "%s/log", p->dir);
    (void)snprintf(config, sizeof config, "%s/sentinel.conf", p->dir);
    write_config(config,
                 "port %u\nbind 127.0.0.1\ndir %s\n"
                 "sentinel monitor main 127.0.0.1 %u 2\n"
                 "sentinel down-after-milliseconds main 500\n"
                 "sentinel failover-timeout main 3000\n",
                 p->port, p->dir, master);
    spawn(p, "redis-sentinel", config);
    wait_until_it_answers(p->port);
}

#endif
