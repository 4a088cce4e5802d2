"""Amazon's client: it speaks to the scripted provider alone, and proves that part of it, its CRCs included."""

import base64
import json

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from scenarios import TOOLS


class Converse:
    name, format = "bedrock-python", "bedrock"

    def __init__(self, config):
        settings = Config(retries={"max_attempts": 0}, read_timeout=60, max_pool_connections=16)
        self.at = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=config["base"], config=settings,
                               aws_access_key_id="key", aws_secret_access_key="secret")

    def failure(self, error):
        head = error.response["ResponseMetadata"] if isinstance(error, ClientError) and not isinstance(error, EventStreamError) else {}
        return {"class": type(error).__name__, "status": head.get("HTTPStatusCode"), "message": str(error)[:300],
                "wait": head.get("HTTPHeaders", {}).get("retry-after")}

    def without(self, scenario):
        kinds = {block["kind"] for message in scenario["messages"] for block in message["blocks"]}
        if scenario["name"] in ("mid-system", "same-role") or "image_url" in kinds or scenario.get("choice") == "none":
            return "no place for it"
        return None

    def begin(self, scenario, model):
        names = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP", "stop": "stopSequences"}
        settings = {name: scenario[ours] for ours, name in names.items() if ours in scenario}
        request = {"modelId": model, "messages": [{"role": message["role"], "content": [self.block(block) for block in message["blocks"]]} for message in scenario["messages"]]}
        request |= {"inferenceConfig": settings} if settings else {}
        request |= {"system": [{"text": scenario["system"]}]} if scenario.get("system") else {}
        if scenario["tools"]:
            request["toolConfig"] = {"tools": [{"toolSpec": {"name": name, "description": TOOLS[name]["description"], "inputSchema": {"json": TOOLS[name]["schema"]}}}
                                               for name in scenario["tools"]]}
            if "choice" in scenario:
                request["toolConfig"]["toolChoice"] = {"any": {}} if scenario["choice"] == "any" else {"tool": {"name": scenario["choice"]}}
        if "schema" in scenario:
            schema = {"jsonSchema": {"name": "city", "schema": json.dumps(scenario["schema"])}}
            request["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": schema}}
        if scenario.get("thinking"):
            request["additionalModelRequestFields"] = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        return request

    def block(self, block):
        kind = block["kind"]
        if kind == "text":
            return {"text": block["text"]}
        if kind == "call":
            return {"toolUse": {"toolUseId": block["id"], "name": block["name"], "input": block["args"]}}
        if kind == "result":
            return self.result(block["id"], block)
        data = {"bytes": base64.b64decode(block["data"])}
        return {"image": {"format": "png", "source": data}} if kind == "image" else {"document": {"format": "pdf", "name": block["name"], "source": data}}

    def result(self, ident, result):
        said = [{"text": result["text"]}] if result["text"] else []
        content = [*said, *(self.block(image) for image in result.get("images") or [])]
        return {"toolResult": {"toolUseId": ident, "content": content, "status": "error" if result.get("error") else "success"}}

    def ask(self, request, stream, seen):
        if not stream:
            answer = self.at.converse(**request)
            return self.show(answer["output"]["message"]["content"], answer["stopReason"], answer["usage"], seen)
        blocks, stop, figures = {}, None, None
        for event in self.at.converse_stream(**request)["stream"]:
            kind, inner = next(iter(event.items()))
            if kind == "contentBlockStart":
                blocks[inner["contentBlockIndex"]] = {"toolUse": {**inner["start"]["toolUse"], "input": ""}}
            elif kind == "contentBlockDelta":
                self.grow(blocks.setdefault(inner["contentBlockIndex"], {}), inner["delta"], seen)
            elif kind == "messageStop":
                stop = inner["stopReason"]
            elif kind == "metadata":
                figures = inner["usage"]
        assert stop, "no messageStop"
        for block in blocks.values():
            if "toolUse" in block:
                block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
        self.show([block for _, block in sorted(blocks.items())], stop, figures, seen)

    def grow(self, block, delta, seen):
        if "text" in delta:
            block["text"] = block.get("text", "") + delta["text"]
            seen["text"] += delta["text"]
        elif "toolUse" in delta:
            block["toolUse"]["input"] += delta["toolUse"]["input"]
        else:
            reasoning = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
            reasoning["text"] += delta["reasoningContent"].get("text", "")
            reasoning |= {"signature": delta["reasoningContent"]["signature"]} if "signature" in delta["reasoningContent"] else {}

    def show(self, content, stop, figures, seen):
        seen |= {
            "text": "".join(block.get("text", "") for block in content), "finish": stop, "raw": content,
            "thinking": "".join(block["reasoningContent"]["reasoningText"]["text"] for block in content if "reasoningContent" in block),
            "calls": [{"id": block["toolUse"]["toolUseId"], "name": block["toolUse"]["name"], "args": block["toolUse"]["input"]} for block in content if "toolUse" in block],
            "usage": {"input": figures["inputTokens"], "output": figures["outputTokens"], "cached": figures["cacheReadInputTokens"], "written": figures["cacheWriteInputTokens"]}}

    def follow(self, request, seen, results):
        answers = [self.result(call["id"], result) for call, result in zip(seen["calls"], results)]
        turns = [{"role": "assistant", "content": seen["raw"]}, {"role": "user", "content": answers}]
        return {**request, "messages": [*request["messages"], *turns]}
