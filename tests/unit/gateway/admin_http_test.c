/* The private socket and the forwarding to it: whole answers, whoever goes away, and nobody else
 * gets in. */
#include "tests/unit/gateway/admin_fixture.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static struct shard shard;
static struct exchange x;
static struct http1_head head;
static char read_buf[READ_BUF_BYTES];
static int status, stand_in = -1;
static struct buf fields, body;

static void on_reply(struct exchange *ex, int code, struct str f, struct str b)
{
    assert_ptr_equal(ex, &x);
    assert_null(ex->on_closed);
    status = code;
    buf_add_str(&fields, f);
    buf_add_str(&body, b);
    loop_stop(shard.loop);
}

static const struct exchange_ops ops = {.reply = on_reply};

/* One loop is both the control loop and the shard's. */
static int set_up(void **state)
{
    struct err e = {0};
    (void)state;
    set_up_gateway();
    status = 0;
    shard = (struct shard){.gw = &gw, .read_buf = read_buf, .loop = loop_new("test")};
    gw.control.loop = shard.loop;
    gw.admin = admin_start(&gw, &e);
    assert_non_null(gw.admin);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    admin_stop(&gw.admin);
    loop_free(&shard.loop);
    if (stand_in >= 0)
        (void)close(stand_in);
    stand_in = -1;
    buf_fini(&fields);
    buf_fini(&body);
    tear_down_gateway();
    return 0;
}

static void forward(const char *method, const char *path)
{
    head = (struct http1_head){.method = str_of(method), .path = str_of(path)};
    x = (struct exchange){.ops = &ops, .shard = &shard, .head = &head};
    admin_forward(&x);
}

static bool has(const struct buf *b, const char *text)
{
    return str_find(buf_str(b), str_of(text)) >= 0;
}

static void an_answer_comes_back_whole(void **state)
{
    (void)state;
    forward("GET", "/api/info");
    loop_run(shard.loop);
    assert_int_equal(status, 200);
    assert_true(has(&fields, "Content-Type: application/json\r\n"));
    assert_true(has(&body, "\"auth_type\":\"none\"}"));
}

static void a_large_answer_comes_back_whole(void **state)
{
    enum { LARGE = 8 << 20 };
    (void)state;
    struct buf text = {0};
    buf_adds(&text, "{\"name\":\"big\",\"description\":\"");
    memset(buf_reserve(&text, LARGE), 'd', LARGE);
    text.n += LARGE;
    buf_adds(&text, "\"}");
    buf_addc(&text, '\0');
    add_entry(gw.control.catalog, KIND_TOOLS, 0, "big", "big", text.p);
    buf_fini(&text);
    forward("GET", "/api/tools");
    loop_run(shard.loop);
    assert_int_equal(status, 200);
    assert_true(body.n > LARGE);
    assert_memory_equal(body.p + body.n - 4, "d\"}]", 4);
}

static void a_head_is_answered_like_a_get(void **state)
{
    (void)state;
    forward("HEAD", "/metrics");
    loop_run(shard.loop);
    assert_int_equal(status, 200);
    assert_true(has(&fields, "Content-Type: text/plain; version=0.0.4\r\n"));
}

static void refusals_come_back_with_their_fields(void **state)
{
    static const char *const methods[] = {"GET", "PUT", "OPTIONS", "BREW"};
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        buf_fini(&fields);
        forward(methods[i], "/drain");
        loop_run(shard.loop);
        assert_int_equal(status, 405);
        assert_true(has(&fields, "Allow: POST\r\n"));
    }
    assert_int_equal(drains, 0);
    forward("GET", "/api/%41?");
    loop_run(shard.loop);
    assert_int_equal(status, 404);
}

static void a_body_goes_along(void **state)
{
    (void)state;
    head = (struct http1_head){.method = STR("POST"), .path = STR("/drain")};
    x = (struct exchange){.ops = &ops, .shard = &shard, .head = &head, .body = STR("{\"a\":1}")};
    admin_forward(&x);
    loop_run(shard.loop);
    assert_int_equal(status, 202);
    assert_int_equal(drains, 1);
}

static void a_client_that_left_gets_nothing(void **state)
{
    (void)state;
    forward("GET", "/api/info");
    assert_non_null(x.on_closed);
    x.on_closed(&x);
    forward("GET", "/api/nothing");
    loop_run(shard.loop);
    assert_int_equal(status, 404);
}

static void without_a_control_plane_it_is_502(void **state)
{
    (void)state;
    admin_stop(&gw.admin);
    forward("GET", "/api/info");
    assert_int_equal(status, 502);
    assert_true(has(&body, "\"status\":\"error\""));
}

/* Puts a listener that never accepts, or the answer of the test's, where the control plane was. */
static void replace_server(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    memcpy(at.sun_path, admin_socket(gw.admin), strlen(admin_socket(gw.admin)));
    assert_int_equal(unlink(at.sun_path), 0);
    stand_in = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(stand_in, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(stand_in, 4), 0);
}

static void answer_with(const char *text)
{
    replace_server();
    forward("GET", "/api/info");
    int fd = accept(stand_in, NULL, NULL);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    loop_run(shard.loop);
    assert_int_equal(close(fd), 0);
}

static void a_silent_control_plane_is_504(void **state)
{
    (void)state;
    replace_server();
    forward("GET", "/api/info");
    clock_advance(10000);
    loop_run(shard.loop);
    assert_int_equal(status, 504);
}

static void a_cut_answer_is_502(void **state)
{
    (void)state;
    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
    assert_int_equal(status, 502);
}

static void a_malformed_answer_is_502(void **state)
{
    (void)state;
    answer_with("HTTP/1.1 200 OK\nContent-Length: 5\n\nabcde");
    assert_int_equal(status, 502);
}

static void an_answer_that_claims_too_much_is_502(void **state)
{
    (void)state;
    answer_with("HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nabc");
    assert_int_equal(status, 502);
}

static void an_answer_without_length_ends_with_the_connection(void **state)
{
    (void)state;
    answer_with("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
    assert_int_equal(status, 200);
    assert_true(str_eq(buf_str(&body), STR("abc")));
}

/* What another process reads after it has asked: the exit status is the number of bytes. */
static int foreign_reader(const char *path)
{
    static const char request[] = "GET /api/info HTTP/1.1\r\nHost: a\r\n\r\n";
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char answer[64];
    memcpy(at.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) < 0)
        return 100;
    (void)send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    ssize_t n = recv(fd, answer, sizeof answer, 0);
    return n > 0 ? (int)n : 0;
}

static void on_child(void *arg)
{
    (void)arg;
    loop_stop(shard.loop);
}

static void another_process_is_turned_away(void **state)
{
    int result = -1;
    (void)state;
    loop_on_signal(shard.loop, SIGCHLD, on_child, NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(foreign_reader(admin_socket(gw.admin)));
    assert_true(pid > 0);
    loop_run(shard.loop);
    assert_int_equal(waitpid(pid, &result, 0), pid);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

static void the_directory_is_private_and_goes_away(void **state)
{
    struct stat st;
    (void)state;
    char *dir = xstrdup(admin_socket(gw.admin));
    *strrchr(dir, '/') = '\0';
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    admin_stop(&gw.admin);
    assert_int_equal(stat(dir, &st), -1);
    free(dir);
}

static void a_stop_drops_open_connections(void **state)
{
    (void)state;
    forward("GET", "/api/info");
    admin_stop(&gw.admin);
    loop_run(shard.loop);
    assert_int_equal(status, 502);
}

static void an_unusable_runtime_directory_is_passed_over(void **state)
{
    struct err e = {0};
    (void)state;
    admin_stop(&gw.admin);
    assert_int_equal(setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1), 0);
    gw.admin = admin_start(&gw, &e);
    assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
    assert_non_null(gw.admin);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_answer_comes_back_whole),
        T(a_large_answer_comes_back_whole),
        T(a_head_is_answered_like_a_get),
        T(refusals_come_back_with_their_fields),
        T(a_body_goes_along),
        T(a_client_that_left_gets_nothing),
        T(without_a_control_plane_it_is_502),
        T(a_silent_control_plane_is_504),
        T(a_cut_answer_is_502),
        T(a_malformed_answer_is_502),
        T(an_answer_that_claims_too_much_is_502),
        T(an_answer_without_length_ends_with_the_connection),
        T(another_process_is_turned_away),
        T(the_directory_is_private_and_goes_away),
        T(a_stop_drops_open_connections),
        T(an_unusable_runtime_directory_is_passed_over),
    };
    metrics_rows_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
