"""Texts about users, keys, departments and quotas: English and Chinese."""

TEXTS: dict[str, tuple[str, str]] = {
    "user_unknown": (
        "There is no user {id!r}. GET /api/v1/admin/users and `minutebook users list` show all.",
        "没有用户 {id!r}。可通过 GET /api/v1/admin/users 或 `minutebook users list` 查看。",
    ),
    "user_unknown_of_new_key": (
        "There is no user {id!r}. `minutebook keys create {id} --role admin` (or member, auditor) adds them and makes "
        "the key.",
        "没有用户 {id!r}。`minutebook keys create {id} --role admin`（或 member、auditor）会添加该用户并创建密钥。",
    ),
    "user_exists": (
        "There is a user {id!r} already; change that one, or choose another id.",
        "用户 {id!r} 已存在，请修改该用户或换一个编号。",
    ),
    "user_disabled": (
        "The user {id!r} is disabled; enable them first.",
        "用户 {id!r} 已停用，请先启用。",
    ),
    "settings_admin": (
        "{id!r} is an admin by the setting api_keys; only there can that key be taken away.",
        "{id!r} 是 api_keys 设置中的管理员，只能在设置中移除该密钥。",
    ),
    "last_admin": (
        "{id!r} is the last admin who is enabled, and the settings name none: nobody could administer this server any "
        "more. Make somebody else an admin first.",
        "{id!r} 是最后一个启用的管理员，且设置中没有管理员，此操作会使服务器无人管理。请先指定另一位管理员。",
    ),
    "no_key": ("There is no key {id!r}.", "没有密钥 {id!r}。"),
    "no_user_of_key": (
        "Keys are issued to users that an admin has added; {id!r} is not one yet. Ask for POST /api/v1/admin/users or "
        "`minutebook users add {id}`.",
        "密钥只发给管理员已添加的用户，{id!r} 尚未添加。"
        "请管理员使用 POST /api/v1/admin/users 或 `minutebook users add {id}`。",
    ),
    "scope_beyond_role": (
        "The scope {scope} goes beyond the role {role}; leave scopes out to get all that the role has.",
        "权限 {scope} 超出角色 {role} 的范围；省略 scopes 可获得该角色的全部权限。",
    ),
    "scope_beyond_key": (
        "The scope {scope} goes beyond the key that you use; it has {scopes}.",
        "权限 {scope} 超出您当前使用的密钥；其权限为 {scopes}。",
    ),
    "too_many_keys": (
        "{id!r} has {limit} keys that are valid already; revoke one first.",
        "{id!r} 已有 {limit} 个有效密钥，请先吊销一个。",
    ),
    "first_key": (
        "The first key ends the development mode, so it has to be an admin's with the scope admin; otherwise nobody "
        "could administer this server. Add a user with the role admin and issue that one a key first.",
        "第一个密钥会结束开发模式，因此必须属于具有 admin 权限的管理员，否则服务器将无人管理。"
        "请先添加管理员用户并为其签发密钥。",
    ),
    "department_exists": (
        "There is a department {id!r} already; change that one, or choose another id.",
        "部门 {id!r} 已存在，请修改该部门或换一个编号。",
    ),
    "no_department": (
        "There is no department {id!r}. GET /api/v1/admin/departments and `minutebook departments list` show all.",
        "没有部门 {id!r}。可通过 GET /api/v1/admin/departments 或 `minutebook departments list` 查看。",
    ),
    "no_quota": (
        "The {subject} {id!r} has no quota of {quota_type} for each {period}.",
        "{subject} {id!r} 没有按 {period} 计算的 {quota_type} 配额。",
    ),
    "quota_limit": (
        "{limit} is no limit: it has to be a number from 0 to 10^15, a whole one for requests and tokens.",
        "{limit} 不是有效的上限：须为 0 到 10^15 之间的数字，请求数和 token 数须为整数。",
    ),
    "id_invalid": (
        "{field} is {value!r}; an id has 1-{limit} characters out of letters, digits and . _ @ -",
        "{field} 为 {value!r}；编号须为 1-{limit} 个字符，只能包含字母、数字和 . _ @ -",
    ),
    "name_invalid": (
        "A name or reason has at most {limit} printable characters, in one line.",
        "名称或原因最多 {limit} 个可打印字符，且不能换行。",
    ),
    "expiry_invalid": (
        "expires_at is {value}; it has to be in the future, at most {days} days from now.",
        "expires_at 为 {value}；须为将来的时间，且不超过 {days} 天。",
    ),
}
