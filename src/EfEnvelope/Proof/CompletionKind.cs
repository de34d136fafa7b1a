namespace EfEnvelope;

/// <summary>What a completion report is about.</summary>
public enum CompletionKind
{
    /// <summary>A re-encryption that came to its end.</summary>
    Reencryption,

    /// <summary>A census alone: a proof repeated, for instance after the destruction window.</summary>
    Census,
}
