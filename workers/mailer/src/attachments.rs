//! Takes note of an uploaded file. What is in it lies in the object store; whoever sends it names it by this command's
//! id.

use omnibus_runtime::{Cx, Events, Fail, Handle};
use omnibus_schemas::mailer::UploadAttachment;

use crate::Mailer;
use crate::delivery::allowed;

impl Handle<UploadAttachment> for Mailer {
    async fn handle(&self, cx: &mut Cx<'_>, cmd: UploadAttachment) -> Result<Events, Fail> {
        if !cmd.object.is_of(cx.tenant()) {
            return Err(Fail::reject("foreign_object", "the file is not this tenant's"));
        }
        allowed("/filename", &cmd.filename)?;
        sqlx::query(
            "insert into mailer.attachments
                 (tenant, attachment_id, bucket, object, filename, content_type, size, sha256, uploaded_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict do nothing",
        )
        .bind(cx.tenant())
        .bind(cx.meta().id)
        .bind(&cmd.object.bucket)
        .bind(&cmd.object.name)
        .bind(&cmd.filename)
        .bind(&cmd.object.content_type)
        .bind(i64::try_from(cmd.object.size)?)
        .bind(&cmd.object.sha256)
        .bind(cx.now())
        .execute(cx.db())
        .await?;
        Ok(Events::none())
    }
}
